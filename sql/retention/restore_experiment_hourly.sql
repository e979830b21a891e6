-- name: experiment_hourly
-- grain: the same as experiment_hourly
-- unique: the same as experiment_hourly
-- reads:
-- Put an archived day back.
insert into experiment_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
