-- name: lake/rollups/experiment_hourly
-- grain: the same as experiment_hourly
-- unique: the same as experiment_hourly
-- reads: experiment_hourly
-- Write the rows from $start to $end to a Parquet file.
copy (
    select *
    from experiment_hourly
    where
        hour >= $start
        and hour < $end
    order by all
) to $path (format parquet, compression zstd)
