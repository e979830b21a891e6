-- name: pipeline.removed_latency_buckets_hourly
-- grain: the same as latency_buckets_hourly, per removal
-- unique: the same as latency_buckets_hourly, per removal
-- reads:
-- Take in what one removal's rows added to their hour.
insert into pipeline.removed_latency_buckets_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
