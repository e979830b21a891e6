-- name: last_day
-- grain: task_type
-- unique: task_type
-- reads: request_analytics
-- Requests and cost by task since $since: a published copy is asked this before it takes its place.
select
    task_type,
    count(*) as requests,
    sum(cost_usd) as cost_usd
from request_analytics
where timestamp >= $since
group by task_type
