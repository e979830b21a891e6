-- name: pipeline.watched_hours
-- grain: hour, environment, scope, subject
-- unique: hour, environment, scope, subject
-- reads: request_analytics
-- The watched series of the hours from $start to $end: of all traffic, and of each organisation, task,
-- model and key. $priced are the models whose price is known, $dear the dearest quarter of them.
insert into pipeline.watched_hours (
    hour,
    environment,
    scope,
    subject,
    requests,
    errors,
    refusals,
    requests_with_finish,
    requests_cut,
    requests_redirected,
    requests_with_price,
    requests_dear,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_output,
    latency_ms_p95,
    latency_ms_geomean
)
with
    traffic as (
        select
            time_bucket(interval '1 hour', timestamp) as hour,
            environment,
            organization_id,
            task_type,
            model_selected,
            api_key_id,
            success,
            coalesce(finish_reason = 'content_filter', false)
                or coalesce(error_type = 'content_filter', false) as is_refusal,
            finish_reason,
            model_answered is not null
                and contains(reason, 'its provider redirected the request to') as is_redirected,
            list_contains($priced, model_selected) as has_price,
            list_contains($dear, model_selected) as is_dear,
            cost_usd,
            tokens_output,
            latency_ms
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
    )

select
    hour,
    environment,
    case
        when grouping(organization_id) = 0 then 'organization'
        when grouping(task_type) = 0 then 'task'
        when grouping(model_selected) = 0 then 'model'
        when grouping(api_key_id) = 0 then 'key'
        else 'all'
    end as scope,
    coalesce(organization_id, task_type, model_selected, api_key_id) as subject,
    count(*) as requests,
    count(*) filter (where not success) as errors,
    count(*) filter (where is_refusal) as refusals,
    count(finish_reason) as requests_with_finish,
    count(*) filter (where finish_reason = 'length') as requests_cut,
    count(*) filter (where is_redirected) as requests_redirected,
    count(*) filter (where has_price) as requests_with_price,
    count(*) filter (where is_dear) as requests_dear,
    count(cost_usd) filter (where success) as requests_with_cost,
    sum(cost_usd) filter (where success) as cost_usd,
    count(tokens_output) filter (where success) as requests_with_tokens,
    sum(tokens_output) filter (where success) as tokens_output,
    quantile_disc(latency_ms, 0.95) filter (where success) as latency_ms_p95,
    exp(avg(ln(greatest(latency_ms, 0.001))) filter (where success)) as latency_ms_geomean
from traffic
group by
    grouping sets (
        (hour, environment),
        (hour, environment, organization_id),
        (hour, environment, task_type),
        (hour, environment, model_selected),
        (hour, environment, api_key_id)
    )
having scope = 'all' or subject is not null
