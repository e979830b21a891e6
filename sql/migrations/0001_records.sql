-- name: 0001_records
-- grain: one row per record of each dataset
-- unique: id of request_analytics; feedback_id of feedback
-- reads:
-- Raw records with the contract's columns, and `segment`, the file each row came from.
-- No primary key: it makes loading 3 to 10 times slower, and the load already joins new ids
-- against known ones. The bounds keep a row that no sum can hold out of every aggregate: its
-- segment is quarantined instead. `request_hour` of feedback is read from the request's id.

create table request_analytics (
    id varchar not null,
    schema_version bigint not null,
    timestamp timestamptz not null,
    environment varchar not null,
    organization_id varchar,
    user_id varchar,
    api_key_id varchar,
    session_id varchar,
    tags map(varchar, varchar) not null,
    operation varchar not null,
    task_type varchar not null,
    task_type_source varchar not null,
    model_requested varchar not null,
    is_streaming boolean not null,
    model_selected varchar,
    provider varchar,
    policy_id varchar not null,
    policy_version bigint not null,
    config_hash varchar not null,
    snapshot_id varchar,
    snapshot_age_s double,
    strategy varchar not null,
    propensity double,
    is_exploration boolean not null,
    reason varchar not null,
    experiment_id varchar,
    variant varchar,
    candidates struct(model varchar, is_eligible boolean, exclusion varchar, quality double, cost_usd double, latency_ms double, utility double, probability double)[] not null,
    tokens_input bigint check (tokens_input <= 1000000000000),
    tokens_output bigint check (tokens_output <= 1000000000000),
    tokens_cached_input bigint check (tokens_cached_input <= 1000000000000),
    tokens_cache_write bigint,
    tokens_reasoning bigint check (tokens_reasoning <= 1000000000000),
    usage_source varchar not null,
    cost_usd decimal(38,12) check (cost_usd < 1000000000),
    price_id varchar,
    provider_cost_usd decimal(38,12),
    baseline_model varchar,
    baseline_cost_usd decimal(38,12) check (baseline_cost_usd < 1000000000),
    success boolean not null,
    status_code bigint,
    error_type varchar,
    error_details varchar,
    finish_reason varchar,
    latency_ms double not null check (latency_ms >= 0 and latency_ms < 1e12),
    ttft_ms double check (ttft_ms >= 0 and ttft_ms < 1e12),
    overhead_ms double,
    attempts struct(model varchar, provider varchar, status_code bigint, error_type varchar, latency_ms double, cost_usd decimal(38,12))[] not null,
    model_decided varchar,
    segment varchar not null
);

create table feedback (
    feedback_id varchar not null,
    schema_version bigint not null,
    request_id varchar not null,
    metric varchar not null,
    value double not null check (value >= 0 and value <= 1),
    source varchar not null,
    comment varchar,
    created_at timestamptz not null,
    request_hour timestamptz,
    segment varchar not null
);
