-- name: incoming
-- grain: request_id
-- unique: request_id
-- reads: request_logs
-- The first copy of every request id that is in the files and not yet in the table.
-- No aggregate is made of the audit trail, so it makes no hour stale.
create or replace temp table incoming as
with
    found as (
        select
            parse_filename(filename, true) as segment,
            file_row_number as row_in_segment,
            request_id
        from read_parquet(
            $files, filename = true, file_row_number = true, hive_partitioning = false
        )
    ),

    known as (
        select request_id
        from request_logs
        where timestamp between $first_at and $last_at
    )

select
    arg_min(found.segment, (found.segment, found.row_in_segment)) as segment,
    arg_min(found.row_in_segment, (found.segment, found.row_in_segment)) as row_in_segment,
    cast(null as timestamptz) as stale_hour
from found
anti join known on known.request_id = found.request_id
group by found.request_id
