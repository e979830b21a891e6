-- name: quality_blocks_hourly
-- grain: the same as quality_blocks_hourly
-- unique: the same as quality_blocks_hourly
-- reads:
-- Put an archived day back.
insert into quality_blocks_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
