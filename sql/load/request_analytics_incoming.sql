-- name: incoming
-- grain: id
-- unique: id
-- reads: request_analytics
-- The first copy of every id that is in the files and not yet in the table.
-- Known ids are looked for between the files' first and last moment only: an id embeds its moment,
-- so a copy of it cannot stand elsewhere, and the cost follows the new rows.
create or replace temp table incoming as
with
    found as (
        select
            parse_filename(filename, true) as segment,
            file_row_number as row_in_segment,
            id,
            timestamp
        from read_parquet(
            $files, filename = true, file_row_number = true, hive_partitioning = false
        )
    ),

    known as (
        select id
        from request_analytics
        where timestamp between $first_at and $last_at
    )

select
    arg_min(found.segment, (found.segment, found.row_in_segment)) as segment,
    arg_min(found.row_in_segment, (found.segment, found.row_in_segment)) as row_in_segment,
    date_trunc('hour', min(found.timestamp)) as stale_hour
from found
anti join known on known.id = found.id
group by found.id
