-- name: incoming
-- grain: {key}
-- unique: {key}
-- reads: {table}
-- The first copy of every id that is in the files and not yet in the table.
-- For datasets without hourly rollups: none of their rows makes an hour stale.
create or replace temp table incoming as
with
    found as (
        select
            parse_filename(filename, true) as segment,
            file_row_number as row_in_segment,
            {key}
        from read_parquet(
            $files, filename = true, file_row_number = true, hive_partitioning = false
        )
    ),

    known as (
        select {key}
        from {table}
        where timestamp between $first_at and $last_at
    )

select
    arg_min(found.segment, (found.segment, found.row_in_segment)) as segment,
    arg_min(found.row_in_segment, (found.segment, found.row_in_segment)) as row_in_segment,
    cast(null as timestamptz) as stale_hour
from found
anti join known on known.{key} = found.{key}
group by found.{key}
