-- name: latency_buckets_hourly
-- grain: the same as latency_buckets_hourly
-- unique: the same as latency_buckets_hourly
-- reads:
-- Put an archived day back.
insert into latency_buckets_hourly by name
select *
from read_parquet($path, hive_partitioning = false)
