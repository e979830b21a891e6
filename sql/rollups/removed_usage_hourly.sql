-- name: pipeline.removed_usage_hourly
-- grain: the same as usage_hourly, per removal
-- unique: the same as usage_hourly, per removal
-- reads:
-- Take in what one removal's rows added to their hour.
insert into pipeline.removed_usage_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
