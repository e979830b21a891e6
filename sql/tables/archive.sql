-- name: lake/rollups/{table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Write the rows from $start to $end to a Parquet file.
copy (
    select *
    from {table}
    where
        {moment} >= $start
        and {moment} < $end
    order by all
) to $path (format parquet, compression zstd)
