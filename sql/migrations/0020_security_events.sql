-- name: 0020_security_events
-- grain: id
-- unique: id
-- reads:
-- Refusals of keys, scopes, models, bodies and limits, with the contract's columns and `segment`, and
-- their number by day. The days outlive the rows.

create table security_events (
    id varchar not null,
    schema_version bigint not null,
    timestamp timestamptz not null,
    last_at timestamptz not null,
    environment varchar not null,
    organization_id varchar,
    user_id varchar,
    api_key_id varchar,
    kind varchar not null,
    code varchar not null,
    status_code bigint not null,
    refusals bigint not null,
    key_fingerprint varchar,
    ip_address varchar,
    user_agent varchar,
    path varchar,
    segment varchar not null
);

create table security_events_daily (
    day date not null,
    environment varchar not null,
    organization_id varchar,
    kind varchar not null,
    code varchar not null,
    refusals bigint not null,
    api_keys bigint not null,
    unknown_keys bigint not null,
    ip_addresses bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null
);
