-- name: lake/rollups/quality_blocks_hourly
-- grain: the same as quality_blocks_hourly
-- unique: the same as quality_blocks_hourly
-- reads: quality_blocks_hourly
-- Write the rows from $start to $end to a Parquet file.
copy (
    select *
    from quality_blocks_hourly
    where
        hour >= $start
        and hour < $end
    order by all
) to $path (format parquet, compression zstd)
