-- name: {table}
-- grain: segment
-- unique: segment
-- reads:
-- Segments with a row that the table would refuse.
select distinct parse_filename(filename, true) as segment
from read_parquet($files, filename = true, hive_partitioning = false) as source
where {problem}
