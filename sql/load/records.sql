-- name: {table}
-- grain: {key}
-- unique: {key}
-- reads: incoming
-- Copy the rows listed in `incoming` from files of the current schema version.
-- The columns come from the record contract. `incoming` adds the segment, and for feedback the hour.
insert into {table} by name
select
    {columns},
    incoming.* exclude (row_in_segment, stale_hour)
from read_parquet(
    $files, filename = true, file_row_number = true, hive_partitioning = false
) as source
join incoming
    on incoming.segment = parse_filename(source.filename, true)
    and incoming.row_in_segment = source.file_row_number
