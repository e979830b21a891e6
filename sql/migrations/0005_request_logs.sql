-- name: 0005_request_logs
-- grain: request_id
-- unique: request_id
-- reads:
-- The audit trail, with the contract's columns and `segment`, the file each row came from.
-- Its bodies are JSON, so that a person can ask for a member; they hold what `body_mode` let through.

create table request_logs (
    request_id varchar not null,
    schema_version bigint not null,
    timestamp timestamptz not null,
    organization_id varchar,
    user_id varchar,
    body_mode varchar not null,
    request_data json,
    response_data json,
    routing_decision json,
    error_details varchar,
    ip_address varchar,
    user_agent varchar,
    segment varchar not null
);
