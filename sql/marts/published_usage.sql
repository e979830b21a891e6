-- name: published_usage
-- grain: organization_id, day, model_selected, task_type, user_id
-- unique: organization_id, day, model_selected, task_type, user_id
-- reads: request_analytics
-- Use of each organisation by day, model, task and user since $since, for the files that routers read.
select
    organization_id,
    cast(timestamp as date) as day,
    model_selected,
    task_type,
    user_id,
    count(*) as requests,
    count(*) filter (where success) as successes,
    cast(coalesce(sum(tokens_input), 0) as bigint) as tokens_input,
    cast(coalesce(sum(tokens_output), 0) as bigint) as tokens_output,
    count(cost_usd) as requests_with_cost,
    sum(cost_usd) as cost_usd
from request_analytics
where timestamp >= $since
group by
    organization_id,
    cast(timestamp as date),
    model_selected,
    task_type,
    user_id
order by all
