-- name: 0004_marts
-- grain: task and model; day and task; snapshot, task and model; model; price
-- unique: the keys before the first count of each table
-- reads:
-- What people and the router read. All of it follows from the rollups and the catalog.

create table task_model_scores (
    task_type varchar not null,
    model varchar not null,
    requests bigint not null,
    requests_with_quality bigint not null,
    requests_with_cost bigint not null,
    effective_sample_size double not null,
    quality_mean double,
    quality_variance double,
    quality_low double,
    quality_high double,
    cost_usd_mean double,
    cost_usd_per_input_token double,
    cost_usd_per_output_token double,
    tokens_input_mean double,
    tokens_output_mean double,
    success_rate double,
    latency_ms_p50 double,
    latency_ms_p95 double,
    latency_ms_p99 double,
    ttft_ms_p50 double,
    ttft_ms_p95 double,
    ttft_ms_p99 double
);

create table task_cost_daily (
    day date not null,
    environment varchar not null,
    organization_id varchar,
    task_type varchar not null,
    model_selected varchar,
    requests bigint not null,
    successes bigint not null,
    explorations bigint not null,
    requests_with_cost bigint not null,
    cost_usd decimal(38, 12),
    requests_with_tokens bigint not null,
    tokens_input bigint,
    tokens_output bigint,
    requests_with_quality bigint not null,
    quality_mean double,
    requests_with_baseline bigint not null,
    cost_usd_with_baseline decimal(38, 12),
    baseline_cost_usd decimal(38, 12),
    latency_ms_mean double
);

create table usage_by_org_daily (
    day date not null,
    environment varchar not null,
    organization_id varchar,
    requests bigint not null,
    successes bigint not null,
    explorations bigint not null,
    requests_with_cost bigint not null,
    cost_usd decimal(38, 12),
    requests_with_tokens bigint not null,
    tokens_input bigint,
    tokens_output bigint,
    requests_with_quality bigint not null,
    quality_mean double,
    requests_with_baseline bigint not null,
    cost_usd_with_baseline decimal(38, 12),
    baseline_cost_usd decimal(38, 12),
    latency_ms_mean double
);

create table model_performance_history (
    snapshot_id varchar not null,
    as_of timestamptz not null,
    published_at timestamptz not null,
    task_type varchar not null,
    model varchar not null,
    requests bigint not null,
    requests_with_quality bigint not null,
    quality_mean double,
    quality_low double,
    quality_high double,
    cost_usd_mean double,
    success_rate double,
    latency_ms_p50 double,
    latency_ms_p95 double,
    tokens_output_mean double
);

create table models (
    id varchar not null,
    name varchar not null,
    provider varchar not null,
    input_price_per_1k decimal(38, 12),
    output_price_per_1k decimal(38, 12),
    context_window bigint,
    capabilities json,
    quality_scores json,
    availability_status varchar not null,
    last_updated timestamptz not null
);

create table model_prices (
    price_id varchar not null,
    model varchar not null,
    valid_from timestamptz not null,
    valid_to timestamptz,
    input_usd_per_mtok decimal(38, 12) not null,
    output_usd_per_mtok decimal(38, 12) not null,
    cached_input_usd_per_mtok decimal(38, 12),
    cache_write_usd_per_mtok decimal(38, 12)
);
