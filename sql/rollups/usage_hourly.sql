-- name: usage_hourly
-- grain: hour, environment, organization_id, task_type, model_selected, provider
-- unique: hour, environment, organization_id, task_type, model_selected, provider
-- reads: request_analytics, feedback, pipeline.removed_usage_hourly
-- Usage, money and quality of the hours from $start to $end, removed rows included.
-- A request's quality is the latest verdict of its highest source: a person, a judge, a program. Doubles become decimals row by row before they are
-- summed, so that every order of addition gives the same total.
insert into usage_hourly (
    hour,
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
    quality,
    quality_squared,
    latency_ms,
    last_request_at,
    last_feedback_at
)
with
    judgements as (
        select
            request_id,
            arg_max(
                value,
                (array_position(['program', 'judge', 'user'], source), created_at, feedback_id)
            ) as value,
            max(created_at) as last_at
        from feedback
        where
            request_hour >= $start
            and request_hour < $end
            and metric = 'quality'
        group by request_id
    ),

    outcomes as (
        select
            request_analytics.*,
            tokens_input is not null and tokens_output is not null as has_tokens,
            cost_usd is not null as has_cost,
            cost_usd is not null and baseline_cost_usd is not null as has_baseline,
            cast(judgements.value as decimal(38, 12)) as quality,
            cast(judgements.value * judgements.value as decimal(38, 12)) as quality_squared,
            judgements.last_at as last_feedback_at
        from request_analytics
        left join judgements on judgements.request_id = request_analytics.id
        where
            timestamp >= $start
            and timestamp < $end
    ),

    parts as (
        select
            date_trunc('hour', timestamp) as hour,
            environment,
            organization_id,
            task_type,
            model_selected,
            provider,
            count(*) as requests,
            count(*) filter (where success) as successes,
            count(*) filter (where is_exploration) as explorations,
            count(cost_usd) as requests_with_cost,
            sum(cost_usd) as cost_usd,
            count(*) filter (where has_tokens) as requests_with_tokens,
            sum(tokens_input) filter (where has_tokens) as tokens_input,
            sum(tokens_output) filter (where has_tokens) as tokens_output,
            sum(tokens_cached_input) filter (where has_tokens) as tokens_cached_input,
            sum(tokens_reasoning) filter (where has_tokens) as tokens_reasoning,
            count(*) filter (where has_cost and has_tokens) as requests_with_cost_and_tokens,
            sum(cost_usd) filter (where has_tokens) as cost_usd_with_tokens,
            sum(tokens_input) filter (where has_cost and has_tokens) as tokens_input_with_cost,
            sum(tokens_output) filter (where has_cost and has_tokens) as tokens_output_with_cost,
            count(*) filter (where has_baseline) as requests_with_baseline,
            sum(cost_usd) filter (where has_baseline) as cost_usd_with_baseline,
            sum(baseline_cost_usd) filter (where has_baseline) as baseline_cost_usd,
            count(quality) as requests_with_quality,
            sum(quality) as quality,
            sum(quality_squared) as quality_squared,
            sum(cast(latency_ms as decimal(38, 6))) as latency_ms,
            max(timestamp) as last_request_at,
            max(last_feedback_at) as last_feedback_at
        from outcomes
        group by
            date_trunc('hour', timestamp),
            environment,
            organization_id,
            task_type,
            model_selected,
            provider
        union all by name
        select *
        from pipeline.removed_usage_hourly
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider,
    sum(requests) as requests,
    sum(successes) as successes,
    sum(explorations) as explorations,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(requests_with_tokens) as requests_with_tokens,
    sum(tokens_input) as tokens_input,
    sum(tokens_output) as tokens_output,
    sum(tokens_cached_input) as tokens_cached_input,
    sum(tokens_reasoning) as tokens_reasoning,
    sum(requests_with_cost_and_tokens) as requests_with_cost_and_tokens,
    sum(cost_usd_with_tokens) as cost_usd_with_tokens,
    sum(tokens_input_with_cost) as tokens_input_with_cost,
    sum(tokens_output_with_cost) as tokens_output_with_cost,
    sum(requests_with_baseline) as requests_with_baseline,
    sum(cost_usd_with_baseline) as cost_usd_with_baseline,
    sum(baseline_cost_usd) as baseline_cost_usd,
    sum(requests_with_quality) as requests_with_quality,
    sum(quality) as quality,
    sum(quality_squared) as quality_squared,
    sum(latency_ms) as latency_ms,
    max(last_request_at) as last_request_at,
    max(last_feedback_at) as last_feedback_at
from parts
group by
    hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider
