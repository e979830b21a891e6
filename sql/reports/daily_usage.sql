-- name: daily_usage
-- grain: day, organization_id
-- unique: day, organization_id
-- reads: usage_hourly
-- Daily cost, requests and average latency of each organisation; by default 30 days.
-- Variables, each optional: since, until (moments), organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/daily_usage.sql
select
    cast(hour at time zone 'UTC' as date) as day,
    organization_id,
    sum(cost_usd) as daily_cost,
    sum(requests) as request_count,
    sum(requests_with_cost) as requests_with_cost,
    sum(latency_ms) / sum(requests) as avg_latency,
    sum(successes) / sum(requests) as success_rate
from usage_hourly
where
    hour >= date_trunc('hour', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and hour < coalesce(cast(getvariable('until') as timestamptz), now())
    and (getvariable('organization') is null or organization_id = getvariable('organization'))
group by
    cast(hour at time zone 'UTC' as date),
    organization_id
order by
    day,
    organization_id;
