-- name: 0009_experiments
-- grain: hour and the keys before the first count; experiment; experiment, variant and metric
-- unique: hour and the keys before the first count; id; experiment_id, variant and metric
-- reads:
-- What experiments are compared by: hourly counts, sums and sums of squares, which merge and subtract
-- exactly; the experiments as their file states them; their results so far. No user id.

create table experiment_hourly (
    hour timestamptz not null,
    experiment_id varchar not null,
    variant varchar not null,
    organization_id varchar,
    unit varchar not null,
    bucket integer,
    requests bigint not null,
    successes bigint not null,
    requests_with_cost bigint not null,
    cost_usd decimal(38, 12),
    cost_usd_squared decimal(38, 20),
    requests_with_quality bigint not null,
    quality decimal(38, 12),
    quality_squared decimal(38, 12),
    requests_with_latency bigint not null,
    latency_ms decimal(38, 6),
    latency_ms_squared decimal(38, 6)
);

create table pipeline.removed_experiment_hourly as
from experiment_hourly
limit 0;

create table routing_experiments (
    id varchar not null,
    unit varchar not null,
    mode varchar not null,
    start_at timestamptz,
    stop_at timestamptz,
    environments varchar[],
    organizations varchar[],
    task_types varchar[],
    variants json not null,
    metrics json not null
);

create table experiment_results (
    experiment_id varchar not null,
    variant varchar not null,
    metric varchar not null,
    is_control boolean not null,
    requests bigint not null,
    observations bigint not null,
    design_effect double,
    mean double,
    mean_low double,
    mean_high double,
    difference double,
    difference_low double,
    difference_high double,
    sample_ratio_p double,
    verdict varchar not null
);
