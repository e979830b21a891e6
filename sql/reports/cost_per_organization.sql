-- name: cost_per_organization
-- grain: organization_id
-- unique: organization_id
-- reads: usage_quarter_hourly
-- What each organisation used and paid, dearest first; by default 30 days. `same_tokens_usd` prices the same
-- tokens at the baseline's rates, less the cost: no saving, which `intellirouter savings` estimates.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/cost_per_organization.sql
select
    organization_id,
    sum(requests) as requests,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(cost_usd) / nullif(sum(requests_with_cost), 0) as cost_usd_per_request,
    sum(tokens_input) as tokens_input,
    sum(tokens_output) as tokens_output,
    sum(baseline_cost_usd) - sum(cost_usd_with_baseline) as same_tokens_usd
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
group by organization_id
order by
    sum(cost_usd) desc nulls last,
    organization_id;
