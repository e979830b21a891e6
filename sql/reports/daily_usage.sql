-- name: daily_usage
-- grain: day, organization_id
-- unique: day, organization_id
-- reads: usage_quarter_hourly
-- Daily cost, requests and average latency of each organisation; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization, timezone (of the days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/daily_usage.sql
select
    cast(timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour) as date) as day,
    organization_id,
    sum(cost_usd) as daily_cost,
    sum(requests) as request_count,
    sum(requests_with_cost) as requests_with_cost,
    sum(latency_us) / (1000 * sum(requests)) as avg_latency,
    sum(successes) / sum(requests) as success_rate
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
    organization_id
order by
    day,
    organization_id;
