-- name: hours
-- grain: name
-- unique: name
-- reads:
-- The first and the last hour whose rollups count a row of each file.
select
    parse_filename(filename, true) as name,
    min({hour}) as first_hour,
    max({hour}) as last_hour
from read_parquet($files, filename = true, hive_partitioning = false) as source
group by name
