-- name: unknown_cost
-- grain: provider, model_selected
-- unique: provider, model_selected
-- reads: usage_quarter_hourly
-- Requests whose cost is not known, most first; by default 30 days. Their cost is in no total.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/unknown_cost.sql
select
    provider,
    model_selected,
    sum(requests) as requests,
    sum(requests) - sum(requests_with_cost) as requests_without_cost,
    (sum(requests) - sum(requests_with_cost)) / sum(requests) as unknown_share
from usage_quarter_hourly
where
    quarter_hour >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and quarter_hour < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by
    provider,
    model_selected
having sum(requests) > sum(requests_with_cost)
order by
    requests_without_cost desc,
    provider,
    model_selected;
