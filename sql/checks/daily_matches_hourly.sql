-- name: daily_matches_hourly
-- grain: day
-- unique: day
-- reads: usage_quarter_hourly, task_cost_daily, usage_by_org_daily
-- Days between $start and $end whose daily marts disagree with the hourly rollup.
with
    hourly as (
        select
            cast(quarter_hour as date) as day,
            sum(requests) as requests,
            sum(cost_usd) as cost_usd
        from usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
        group by cast(quarter_hour as date)
    ),

    tasks as (
        select
            day,
            sum(requests) as requests,
            sum(cost_usd) as cost_usd
        from task_cost_daily
        where
            day >= cast($start as date)
            and day < cast($end as date)
        group by day
    ),

    organizations as (
        select
            day,
            sum(requests) as requests,
            sum(cost_usd) as cost_usd
        from usage_by_org_daily
        where
            day >= cast($start as date)
            and day < cast($end as date)
        group by day
    )

select
    coalesce(hourly.day, tasks.day, organizations.day) as day,
    hourly.requests as requests_hourly,
    tasks.requests as requests_by_task,
    organizations.requests as requests_by_organization,
    hourly.cost_usd as cost_usd_hourly,
    tasks.cost_usd as cost_usd_by_task,
    organizations.cost_usd as cost_usd_by_organization
from hourly
full join tasks on tasks.day = hourly.day
full join organizations on organizations.day = coalesce(hourly.day, tasks.day)
where
    hourly.requests is distinct from tasks.requests
    or hourly.requests is distinct from organizations.requests
    or hourly.cost_usd is distinct from tasks.cost_usd
    or hourly.cost_usd is distinct from organizations.cost_usd
order by day
limit 20
