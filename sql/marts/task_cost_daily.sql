-- name: task_cost_daily
-- grain: day, environment, organization_id, task_type, model_selected
-- unique: day, environment, organization_id, task_type, model_selected
-- reads: usage_quarter_hourly
-- What each task cost on each model, for the days from $start to $end.
insert into task_cost_daily (
    day,
    environment,
    organization_id,
    task_type,
    model_selected,
    requests,
    successes,
    explorations,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_output,
    requests_with_quality,
    quality_mean,
    requests_with_baseline,
    cost_usd_with_baseline,
    baseline_cost_usd,
    latency_ms_mean
)
select
    cast(quarter_hour as date) as day,
    environment,
    organization_id,
    task_type,
    model_selected,
    sum(requests) as requests,
    sum(successes) as successes,
    sum(explorations) as explorations,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(requests_with_tokens) as requests_with_tokens,
    sum(tokens_input) as tokens_input,
    sum(tokens_output) as tokens_output,
    sum(requests_with_quality) as requests_with_quality,
    sum(quality_micro) / (1000000 * nullif(sum(requests_with_quality), 0)) as quality_mean,
    sum(requests_with_baseline) as requests_with_baseline,
    sum(cost_usd_with_baseline) as cost_usd_with_baseline,
    sum(baseline_cost_usd) as baseline_cost_usd,
    sum(latency_us) / (1000 * sum(requests)) as latency_ms_mean
from usage_quarter_hourly
where
    quarter_hour >= $start
    and quarter_hour < $end
group by
    cast(quarter_hour as date),
    environment,
    organization_id,
    task_type,
    model_selected
