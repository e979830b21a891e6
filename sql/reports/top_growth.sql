-- name: top_growth
-- grain: organization_id, task_type, model_selected
-- unique: organization_id, task_type, model_selected
-- reads: usage_quarter_hourly
-- What grew the most: cost of each organisation, task and model against the period of the same length before it; by
-- default 30 days. A group without requests in a period cost nothing in it.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/top_growth.sql
with
    bounds as (
        select
            time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)) as since,
            coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now()) as until
    ),

    periods as (
        select
            usage_quarter_hourly.*,
            usage_quarter_hourly.quarter_hour >= bounds.since as is_now
        from usage_quarter_hourly
        cross join bounds
        where
            usage_quarter_hourly.quarter_hour >= bounds.since - (bounds.until - bounds.since)
            and usage_quarter_hourly.quarter_hour < bounds.until
            and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
    ),

    sums as (
        select
            organization_id,
            task_type,
            model_selected,
            coalesce(sum(requests) filter (where not is_now), 0) as requests_before,
            coalesce(sum(requests) filter (where is_now), 0) as requests,
            coalesce(sum(requests_with_cost) filter (where is_now), 0) as requests_with_cost,
            sum(cost_usd) filter (where not is_now) as known_before,
            sum(cost_usd) filter (where is_now) as known_now
        from periods
        group by
            organization_id,
            task_type,
            model_selected
    ),

    costs as (
        select
            *,
            case when requests_before = 0 then 0 else known_before end as cost_usd_before,
            case when requests = 0 then 0 else known_now end as cost_usd
        from sums
    )

select
    organization_id,
    task_type,
    model_selected,
    requests_before,
    requests,
    requests_with_cost,
    cost_usd_before,
    cost_usd,
    cost_usd - cost_usd_before as growth_usd
from costs
order by
    growth_usd desc nulls last,
    organization_id,
    task_type,
    model_selected;
