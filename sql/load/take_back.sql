-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Copy the rows of segments that were read in their files into the table.
insert into {table} by name
select
    {columns}
from read_parquet($files, filename = true, hive_partitioning = false) as source
