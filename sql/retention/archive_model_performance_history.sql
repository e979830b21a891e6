-- name: lake/rollups/model_performance_history
-- grain: the same as model_performance_history
-- unique: the same as model_performance_history
-- reads: model_performance_history
-- Write the rows from $start to $end to a Parquet file.
copy (
    select *
    from model_performance_history
    where
        as_of >= $start
        and as_of < $end
    order by all
) to $path (format parquet, compression zstd)
