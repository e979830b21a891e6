-- name: exploration_share
-- grain: day, task_type
-- unique: day, task_type
-- reads: usage_quarter_hourly
-- How much of each task's traffic went to a model other than the best known; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization, timezone (of the days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/exploration_share.sql
select
    cast(timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour) as date) as day,
    task_type,
    sum(requests) as requests,
    sum(explorations) as explorations,
    sum(explorations) / sum(requests) as exploration_share
from usage_quarter_hourly
where
    quarter_hour >= time_bucket(
        interval '15 minutes',
        coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)
    )
    and quarter_hour < coalesce(
        time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)),
        now()
    )
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by
    cast(timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour) as date),
    task_type
order by
    day,
    task_type;
