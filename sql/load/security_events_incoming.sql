-- name: incoming
-- grain: id
-- unique: id
-- reads: security_events
-- The first copy of every event that is in the files and not yet in the table.
-- Its daily mart is computed from the table, so it makes no hour stale.
create or replace temp table incoming as
with
    found as (
        select
            parse_filename(filename, true) as segment,
            file_row_number as row_in_segment,
            id
        from read_parquet(
            $files, filename = true, file_row_number = true, hive_partitioning = false
        )
    ),

    known as (
        select id
        from security_events
        where timestamp between $first_at and $last_at
    )

select
    arg_min(found.segment, (found.segment, found.row_in_segment)) as segment,
    arg_min(found.row_in_segment, (found.segment, found.row_in_segment)) as row_in_segment,
    cast(null as timestamptz) as stale_hour
from found
anti join known on known.id = found.id
group by found.id
