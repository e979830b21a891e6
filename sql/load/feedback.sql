-- name: feedback
-- grain: feedback_id
-- unique: feedback_id
-- reads: incoming
-- Copy the rows listed in `incoming` from the files of schema version 1.
insert into feedback (
    feedback_id,
    schema_version,
    request_id,
    metric,
    value,
    source,
    comment,
    created_at,
    request_hour,
    segment
)
select
    cast(source.feedback_id as varchar) as feedback_id,
    cast(source.schema_version as bigint) as schema_version,
    cast(source.request_id as varchar) as request_id,
    cast(source.metric as varchar) as metric,
    cast(source.value as double) as value,
    cast(source.source as varchar) as source,
    cast(source.comment as varchar) as comment,
    cast(source.created_at as timestamptz) as created_at,
    incoming.hour_of_request as request_hour,
    incoming.segment
from read_parquet(
    $files, filename = true, file_row_number = true, hive_partitioning = false
) as source
join incoming
    on incoming.segment = parse_filename(source.filename, true)
    and incoming.row_in_segment = source.file_row_number
