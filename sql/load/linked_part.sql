-- name: {view}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Rows of the files of some days. The bounds let a query of other days leave the files out.
select
    {columns}
from read_parquet({files}, filename = true, hive_partitioning = false) as source
where
    source.{moment} >= {start}
    and source.{moment} < {end}
