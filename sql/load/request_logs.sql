-- name: request_logs
-- grain: request_id
-- unique: request_id
-- reads: incoming
-- Copy the rows listed in `incoming` from the files of schema version 1.
-- A text that is no JSON becomes a JSON string: a cast would fail, and quote it in its error.
insert into request_logs (
    request_id,
    schema_version,
    timestamp,
    organization_id,
    user_id,
    body_mode,
    request_data,
    response_data,
    routing_decision,
    error_details,
    ip_address,
    user_agent,
    segment
)
select
    cast(source.request_id as varchar) as request_id,
    cast(source.schema_version as bigint) as schema_version,
    cast(source.timestamp as timestamptz) as timestamp,
    cast(source.organization_id as varchar) as organization_id,
    cast(source.user_id as varchar) as user_id,
    cast(source.body_mode as varchar) as body_mode,
    if(json_valid(source.request_data), source.request_data, to_json(source.request_data)) as request_data,
    if(json_valid(source.response_data), source.response_data, to_json(source.response_data)) as response_data,
    if(
        json_valid(source.routing_decision), source.routing_decision, to_json(source.routing_decision)
    ) as routing_decision,
    cast(source.error_details as varchar) as error_details,
    cast(source.ip_address as varchar) as ip_address,
    cast(source.user_agent as varchar) as user_agent,
    incoming.segment
from read_parquet(
    $files, filename = true, file_row_number = true, hive_partitioning = false
) as source
join incoming
    on incoming.segment = parse_filename(source.filename, true)
    and incoming.row_in_segment = source.file_row_number
