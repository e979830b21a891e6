-- name: budgets
-- grain: budget_id, period_start, organization_id, api_key_id, user_id, session_id
-- unique: budget_id, period_start, organization_id, api_key_id, user_id, session_id
-- reads: budget_status
-- How much of each budget is spent in its running period, and where the period will end, closest to the limit first.
-- The figures are those of the last refresh, whatever the period of the report.
-- Variables, each optional: organization. In the DuckDB shell:
--     set variable organization = 'acme';
--     .read sql/reports/budgets.sql
select
    budget_id,
    scope,
    organization_id,
    api_key_id,
    user_id,
    session_id,
    period_start,
    period_end,
    limit_usd,
    requests,
    requests_without_cost,
    spent_usd,
    remaining_usd,
    spent_share,
    projected_usd,
    projected_share
from budget_status
where getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), '')
order by
    spent_share desc nulls last,
    budget_id,
    organization_id,
    api_key_id,
    user_id,
    session_id;
