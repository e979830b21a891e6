-- name: pipeline.removed_experiment_hourly
-- grain: the same as experiment_hourly, per removal
-- unique: the same as experiment_hourly, per removal
-- reads:
-- Take in what one removal's rows added to their hour.
insert into pipeline.removed_experiment_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
