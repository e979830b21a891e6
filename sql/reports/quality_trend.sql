-- name: quality_trend
-- grain: day
-- unique: day
-- reads: usage_quarter_hourly
-- Cost of a request and judged quality, day by day; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization, timezone (of the days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/quality_trend.sql
select
    cast(timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour) as date) as day,
    sum(requests) as requests,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(cost_usd) / nullif(sum(requests_with_cost), 0) as cost_usd_per_request,
    sum(requests_with_quality) as requests_with_quality,
    sum(quality_micro) / (1000000 * nullif(sum(requests_with_quality), 0)) as quality_mean
from usage_quarter_hourly
where
    quarter_hour >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and quarter_hour < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by cast(timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour) as date)
order by day;
