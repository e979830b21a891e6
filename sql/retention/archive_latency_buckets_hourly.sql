-- name: lake/rollups/latency_buckets_hourly
-- grain: the same as latency_buckets_hourly
-- unique: the same as latency_buckets_hourly
-- reads: latency_buckets_hourly
-- Write the rows from $start to $end to a Parquet file.
copy (
    select *
    from latency_buckets_hourly
    where
        hour >= $start
        and hour < $end
    order by all
) to $path (format parquet, compression zstd)
