-- name: 0022_quarter_hours
-- grain: quarter of an hour and the keys before the first count; hour and these keys
-- unique: quarter of an hour, is_whole_hour and the keys before the first count; hour and these keys
-- reads:
-- Usage by quarters of an hour, on which the midnights of every time zone lie. Sums are whole numbers:
-- microseconds, millionths of a quality; money has the 12 decimals of the records. `usage_hourly` becomes
-- a view with the columns that it had. Hours of before count at their first quarter, until they are
-- folded again: `is_whole_hour`.

create table usage_quarter_hourly (
    quarter_hour timestamptz not null,
    is_whole_hour boolean not null,
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
    quality_micro bigint,
    quality_squared_micro bigint,
    latency_us bigint not null,
    last_request_at timestamptz not null,
    last_feedback_at timestamptz
);

insert into usage_quarter_hourly (
    quarter_hour,
    is_whole_hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider,
    requests,
    successes,
    explorations,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_reasoning,
    requests_with_cost_and_tokens,
    cost_usd_with_tokens,
    tokens_input_with_cost,
    tokens_output_with_cost,
    requests_with_baseline,
    cost_usd_with_baseline,
    baseline_cost_usd,
    requests_with_quality,
    quality_micro,
    quality_squared_micro,
    latency_us,
    last_request_at,
    last_feedback_at
)
select
    hour as quarter_hour,
    true as is_whole_hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider,
    requests,
    successes,
    explorations,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_reasoning,
    requests_with_cost_and_tokens,
    cost_usd_with_tokens,
    tokens_input_with_cost,
    tokens_output_with_cost,
    requests_with_baseline,
    cost_usd_with_baseline,
    baseline_cost_usd,
    requests_with_quality,
    cast(round(quality * 1000000) as bigint) as quality_micro,
    cast(round(quality_squared * 1000000) as bigint) as quality_squared_micro,
    cast(round(latency_ms * 1000) as bigint) as latency_us,
    last_request_at,
    last_feedback_at
from usage_hourly;

create table pipeline.removed_usage_quarter_hourly as
from usage_quarter_hourly
limit 0;

insert into pipeline.removed_usage_quarter_hourly (
    quarter_hour,
    is_whole_hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider,
    requests,
    successes,
    explorations,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_reasoning,
    requests_with_cost_and_tokens,
    cost_usd_with_tokens,
    tokens_input_with_cost,
    tokens_output_with_cost,
    requests_with_baseline,
    cost_usd_with_baseline,
    baseline_cost_usd,
    requests_with_quality,
    quality_micro,
    quality_squared_micro,
    latency_us,
    last_request_at,
    last_feedback_at
)
select
    hour as quarter_hour,
    true as is_whole_hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider,
    requests,
    successes,
    explorations,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_reasoning,
    requests_with_cost_and_tokens,
    cost_usd_with_tokens,
    tokens_input_with_cost,
    tokens_output_with_cost,
    requests_with_baseline,
    cost_usd_with_baseline,
    baseline_cost_usd,
    requests_with_quality,
    cast(round(quality * 1000000) as bigint) as quality_micro,
    cast(round(quality_squared * 1000000) as bigint) as quality_squared_micro,
    cast(round(latency_ms * 1000) as bigint) as latency_us,
    last_request_at,
    last_feedback_at
from pipeline.removed_usage_hourly;

drop table pipeline.removed_usage_hourly;

drop table usage_hourly;

create view usage_hourly as
select
    time_bucket(interval '1 hour', quarter_hour) as hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider,
    cast(sum(requests) as bigint) as requests,
    cast(sum(successes) as bigint) as successes,
    cast(sum(explorations) as bigint) as explorations,
    cast(sum(requests_with_cost) as bigint) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    cast(sum(requests_with_tokens) as bigint) as requests_with_tokens,
    cast(sum(tokens_input) as bigint) as tokens_input,
    cast(sum(tokens_output) as bigint) as tokens_output,
    cast(sum(tokens_cached_input) as bigint) as tokens_cached_input,
    cast(sum(tokens_reasoning) as bigint) as tokens_reasoning,
    cast(sum(requests_with_cost_and_tokens) as bigint) as requests_with_cost_and_tokens,
    sum(cost_usd_with_tokens) as cost_usd_with_tokens,
    cast(sum(tokens_input_with_cost) as bigint) as tokens_input_with_cost,
    cast(sum(tokens_output_with_cost) as bigint) as tokens_output_with_cost,
    cast(sum(requests_with_baseline) as bigint) as requests_with_baseline,
    sum(cost_usd_with_baseline) as cost_usd_with_baseline,
    sum(baseline_cost_usd) as baseline_cost_usd,
    cast(sum(requests_with_quality) as bigint) as requests_with_quality,
    cast(cast(sum(quality_micro) as bigint) * 0.000001 as decimal(38, 12)) as quality,
    cast(cast(sum(quality_squared_micro) as bigint) * 0.000001 as decimal(38, 12)) as quality_squared,
    cast(cast(sum(latency_us) as bigint) * 0.001 as decimal(38, 6)) as latency_ms,
    max(last_request_at) as last_request_at,
    max(last_feedback_at) as last_feedback_at
from usage_quarter_hourly
group by
    time_bucket(interval '1 hour', quarter_hour),
    environment,
    organization_id,
    task_type,
    model_selected,
    provider;

insert into pipeline.stale_hours
select distinct hour
from usage_hourly
where hour not in (select hour from pipeline.stale_hours);
