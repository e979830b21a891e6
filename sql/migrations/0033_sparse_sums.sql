-- name: 0033_sparse_sums
-- grain: hour and the keys before the first count
-- unique: hour and the keys before the first count
-- reads:
-- Sums over the requests with cost and tokens are no longer stored where they are those over all requests:
-- the counts say so. The view shows them as before. The geometric mean of the latency is watched too: hours
-- of before have none.

create or replace view usage_hourly as
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
    sum(
        case
            when requests_with_cost_and_tokens = requests_with_cost then cost_usd
            else cost_usd_with_tokens
        end
    ) as cost_usd_with_tokens,
    cast(sum(
        case
            when requests_with_cost_and_tokens = requests_with_tokens then tokens_input
            else tokens_input_with_cost
        end
    ) as bigint) as tokens_input_with_cost,
    cast(sum(
        case
            when requests_with_cost_and_tokens = requests_with_tokens then tokens_output
            else tokens_output_with_cost
        end
    ) as bigint) as tokens_output_with_cost,
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

alter table pipeline.watched_hours add column latency_ms_geomean double;
