-- name: savings
-- grain: scope, organization_id, task_type
-- unique: scope, organization_id, task_type
-- reads: savings
-- What the router saved against BASELINE_MODEL in the last 30 days, with 95% intervals; NULL with the reason. The
-- figures are those of the last refresh, whatever the period of the report.
-- Variables, each optional: organization. In the DuckDB shell:
--     set variable organization = 'acme';
--     .read sql/reports/savings.sql
select
    scope,
    organization_id,
    task_type,
    baseline,
    since,
    as_of,
    requests,
    supported_share,
    saved_usd,
    saved_usd_low,
    saved_usd_high,
    quality_difference,
    quality_difference_low,
    quality_difference_high,
    reason
from savings
where
    getvariable('organization') is null
    or (scope = 'organization' and organization_id is not distinct from nullif(getvariable('organization'), ''))
order by
    scope,
    organization_id,
    task_type;
