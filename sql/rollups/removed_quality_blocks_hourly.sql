-- name: pipeline.removed_quality_blocks_hourly
-- grain: the same as quality_blocks_hourly, per removal
-- unique: the same as quality_blocks_hourly, per removal
-- reads:
-- Take in what one removal's rows added to their hour.
insert into pipeline.removed_quality_blocks_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
