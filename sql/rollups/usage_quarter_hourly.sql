-- name: usage_quarter_hourly
-- grain: quarter_hour, is_whole_hour, environment, organization_id, task_type, model_selected, provider
-- unique: quarter_hour, is_whole_hour, environment, organization_id, task_type, model_selected, provider
-- reads: request_analytics, feedback, pipeline.removed_usage_quarter_hourly
-- Usage, money and quality of the hours from $start to $end by quarters of an hour, removed rows included.
-- A request's quality is the latest verdict of its highest source: a person, a judge, a program. Doubles
-- become whole numbers row by row before they are summed, so that every order of addition, and every
-- engine, gives the same total. Sums over the requests with cost and tokens are NULL where they are those
-- over all, which is nearly always.
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
            time_bucket(interval '15 minutes', timestamp)
                as quarter_hour,
            cast(round(judgements.value * 1000000) as bigint) as quality_micro,
            cast(round(judgements.value * judgements.value * 1000000) as bigint) as quality_squared_micro,
            cast(round(latency_ms * 1000) as bigint) as latency_us,
            judgements.last_at as last_feedback_at
        from request_analytics
        left join judgements on judgements.request_id = request_analytics.id
        where
            timestamp >= $start
            and timestamp < $end
    ),

    parts as (
        select
            quarter_hour,
            false as is_whole_hour,
            environment,
            organization_id,
            task_type,
            model_selected,
            provider,
            cast(count(*) as bigint) as requests,
            cast(count(*) filter (where success) as bigint) as successes,
            cast(count(*) filter (where is_exploration) as bigint) as explorations,
            cast(count(cost_usd) as bigint) as requests_with_cost,
            sum(cost_usd) as cost_usd,
            cast(count(*) filter (where has_tokens) as bigint) as requests_with_tokens,
            sum(tokens_input) filter (where has_tokens) as tokens_input,
            sum(tokens_output) filter (where has_tokens) as tokens_output,
            sum(tokens_cached_input) filter (where has_tokens) as tokens_cached_input,
            sum(tokens_reasoning) filter (where has_tokens) as tokens_reasoning,
            cast(count(*) filter (where has_cost and has_tokens) as bigint) as requests_with_cost_and_tokens,
            sum(cost_usd) filter (where has_tokens) as cost_usd_with_tokens,
            sum(tokens_input) filter (where has_cost and has_tokens) as tokens_input_with_cost,
            sum(tokens_output) filter (where has_cost and has_tokens) as tokens_output_with_cost,
            cast(count(*) filter (where has_baseline) as bigint) as requests_with_baseline,
            sum(cost_usd) filter (where has_baseline) as cost_usd_with_baseline,
            sum(baseline_cost_usd) filter (where has_baseline) as baseline_cost_usd,
            cast(count(quality_micro) as bigint) as requests_with_quality,
            sum(quality_micro) as quality_micro,
            sum(quality_squared_micro) as quality_squared_micro,
            sum(latency_us) as latency_us,
            max(timestamp) as last_request_at,
            max(last_feedback_at) as last_feedback_at
        from outcomes
        group by
            quarter_hour,
            environment,
            organization_id,
            task_type,
            model_selected,
            provider
        union all
        select
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
            case
                when requests_with_cost_and_tokens = requests_with_cost then cost_usd
                else cost_usd_with_tokens
            end as cost_usd_with_tokens,
            case
                when requests_with_cost_and_tokens = requests_with_tokens then tokens_input
                else tokens_input_with_cost
            end as tokens_input_with_cost,
            case
                when requests_with_cost_and_tokens = requests_with_tokens then tokens_output
                else tokens_output_with_cost
            end as tokens_output_with_cost,
            requests_with_baseline,
            cost_usd_with_baseline,
            baseline_cost_usd,
            requests_with_quality,
            quality_micro,
            quality_squared_micro,
            latency_us,
            last_request_at,
            last_feedback_at
        from pipeline.removed_usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
    )

select
    quarter_hour,
    is_whole_hour,
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
    case when sum(requests_with_cost_and_tokens) < sum(requests_with_cost) then sum(cost_usd_with_tokens) end as cost_usd_with_tokens,
    case when sum(requests_with_cost_and_tokens) < sum(requests_with_tokens) then sum(tokens_input_with_cost) end as tokens_input_with_cost,
    case when sum(requests_with_cost_and_tokens) < sum(requests_with_tokens) then sum(tokens_output_with_cost) end as tokens_output_with_cost,
    sum(requests_with_baseline) as requests_with_baseline,
    sum(cost_usd_with_baseline) as cost_usd_with_baseline,
    sum(baseline_cost_usd) as baseline_cost_usd,
    sum(requests_with_quality) as requests_with_quality,
    sum(quality_micro) as quality_micro,
    sum(quality_squared_micro) as quality_squared_micro,
    sum(latency_us) as latency_us,
    max(last_request_at) as last_request_at,
    max(last_feedback_at) as last_feedback_at
from parts
group by
    quarter_hour,
    is_whole_hour,
    environment,
    organization_id,
    task_type,
    model_selected,
    provider
