-- name: month_by_month
-- grain: month
-- unique: month
-- reads: usage_quarter_hourly
-- Requests and cost of each month, and the change from the month before it; by default 400 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization, timezone (of the days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/month_by_month.sql
with
    months as (
        select
            cast(date_trunc('month', timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour)) as date) as month,
            sum(requests) as requests,
            sum(requests_with_cost) as requests_with_cost,
            sum(cost_usd) as cost_usd
        from usage_quarter_hourly
        where
            quarter_hour >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 400 days))
            and quarter_hour < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
            and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
        group by cast(date_trunc('month', timezone(coalesce(getvariable('timezone'), 'UTC'), quarter_hour)) as date)
    )

select
    months.month,
    months.requests,
    months.requests_with_cost,
    months.cost_usd,
    months.cost_usd / nullif(months.requests_with_cost, 0) as cost_usd_per_request,
    months.cost_usd - earlier.cost_usd as change_usd,
    (months.cost_usd - earlier.cost_usd) / nullif(earlier.cost_usd, 0) as change_share
from months
left join months as earlier on earlier.month = months.month - interval 1 month
order by months.month;
