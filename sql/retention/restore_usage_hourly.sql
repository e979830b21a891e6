-- name: usage_hourly
-- grain: the same as usage_hourly
-- unique: the same as usage_hourly
-- reads:
-- Put an archived day back.
insert into usage_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
