-- name: incoming
-- grain: feedback_id
-- unique: feedback_id
-- reads: feedback
-- The first copy of every feedback id that is in the files and not yet in the table.
-- The judged request's hour is read from its UUIDv7, so late feedback finds the hour it restates
-- without a look-up; it stays NULL for an id that is none.
create or replace temp table incoming as
with
    found as (
        select
            parse_filename(source.filename, true) as segment,
            source.file_row_number as row_in_segment,
            source.feedback_id,
            source.metric,
            {hour} as hour_of_request
        from read_parquet(
            $files, filename = true, file_row_number = true, hive_partitioning = false
        ) as source
    ),

    known as (
        select feedback_id
        from feedback
        where created_at between $first_at and $last_at
    )

select
    arg_min(found.segment, (found.segment, found.row_in_segment)) as segment,
    arg_min(found.row_in_segment, (found.segment, found.row_in_segment)) as row_in_segment,
    any_value(found.hour_of_request) as request_hour,
    any_value(found.hour_of_request) filter (where found.metric = 'quality') as stale_hour
from found
anti join known on known.feedback_id = found.feedback_id
group by found.feedback_id
