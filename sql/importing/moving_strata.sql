-- name: moving_strata
-- grain: name, size, model_selected, provider
-- unique: name, size, model_selected, provider
-- reads: request_analytics, feedback
-- What was spent by group, size of the input, and model, from $since to before $until. A group is the task where it is
-- known, and the requested model group elsewhere. Sizes are powers of 4 of input tokens, so that requests of one
-- group and size are alike. NULL sums are unknown.
with
    judged as (
        select
            request_id,
            avg(value) as quality
        from feedback
        where metric = 'quality'
        group by request_id
    )

select
    if(task_type = 'unlabelled', 'model group ' || model_requested, 'task ' || task_type) as name,
    cast(floor(ln(greatest(tokens_input, 1)) / ln(4)) as integer) as size,
    model_selected,
    provider,
    count(*) as requests,
    count(cost_usd) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(cast(cost_usd as double) * cast(cost_usd as double)) as cost_usd_squared,
    sum(tokens_input) as tokens_input,
    sum(tokens_output) as tokens_output,
    count(judged.quality) as requests_with_quality,
    sum(judged.quality) as quality,
    min(timestamp) as first_at,
    max(timestamp) as last_at
from request_analytics
left join judged on judged.request_id = request_analytics.id
where
    timestamp >= $since
    and timestamp < $until
    and ($organization is null or organization_id = $organization)
group by all
order by
    name,
    size,
    model_selected,
    provider;
