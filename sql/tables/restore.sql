-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Put the rows of a Parquet file back into their table: an archived day, or a removal's share.
insert into {table} by name
select *
from read_parquet($path, hive_partitioning = false)
