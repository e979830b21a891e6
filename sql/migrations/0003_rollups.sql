-- name: 0003_rollups
-- grain: hour and the keys before the first count
-- unique: hour and the keys before the first count
-- reads:
-- Hourly aggregates that outlive the raw rows: counts, exact decimal sums and buckets, which merge
-- and subtract exactly. A sum stands beside the count of the rows whose value is known. No user id.

create table usage_hourly (
    hour timestamptz not null,
    environment varchar not null,
    organization_id varchar,
    task_type varchar not null,
    model_selected varchar,
    provider varchar,
    requests bigint not null,
    successes bigint not null,
    explorations bigint not null,
    requests_with_cost bigint not null,
    cost_usd decimal(38, 12),
    requests_with_tokens bigint not null,
    tokens_input bigint,
    tokens_output bigint,
    tokens_cached_input bigint,
    tokens_reasoning bigint,
    requests_with_cost_and_tokens bigint not null,
    cost_usd_with_tokens decimal(38, 12),
    tokens_input_with_cost bigint,
    tokens_output_with_cost bigint,
    requests_with_baseline bigint not null,
    cost_usd_with_baseline decimal(38, 12),
    baseline_cost_usd decimal(38, 12),
    requests_with_quality bigint not null,
    quality decimal(38, 12),
    quality_squared decimal(38, 12),
    latency_ms decimal(38, 6) not null,
    last_request_at timestamptz not null,
    last_feedback_at timestamptz
);

create table latency_buckets_hourly (
    hour timestamptz not null,
    task_type varchar not null,
    model_selected varchar not null,
    metric varchar not null,
    bucket integer not null,
    requests bigint not null
);
