-- name: lake/rollups/usage_hourly
-- grain: the same as usage_hourly
-- unique: the same as usage_hourly
-- reads: usage_hourly
-- Write the rows from $start to $end to a Parquet file.
copy (
    select *
    from usage_hourly
    where
        hour >= $start
        and hour < $end
    order by all
) to $path (format parquet, compression zstd)
