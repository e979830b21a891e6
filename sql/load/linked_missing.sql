-- name: incoming
-- grain: stale_hour
-- unique: stale_hour
-- reads:
-- Hours whose rollups lack the rows of the files $files that are not in the file $path, which replaces them.
create or replace temp table incoming as
select distinct {hour} as stale_hour
from read_parquet($files, hive_partitioning = false) as source
where
    source.{key} not in (
        select {key}
        from read_parquet($path, hive_partitioning = false)
    )
