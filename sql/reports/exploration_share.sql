-- name: exploration_share
-- grain: day, task_type
-- unique: day, task_type
-- reads: usage_hourly
-- How much of each task's traffic went to a model other than the best known; by default 30 days.
-- Variables, each optional: since, until (moments), organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/exploration_share.sql
select
    cast(hour at time zone 'UTC' as date) as day,
    task_type,
    sum(requests) as requests,
    sum(explorations) as explorations,
    sum(explorations) / sum(requests) as exploration_share
from usage_hourly
where
    hour >= date_trunc('hour', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and hour < coalesce(cast(getvariable('until') as timestamptz), now())
    and (getvariable('organization') is null or organization_id = getvariable('organization'))
group by
    cast(hour at time zone 'UTC' as date),
    task_type
order by
    day,
    task_type;
