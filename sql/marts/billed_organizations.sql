-- name: billed_organizations
-- grain: organization_id
-- unique: organization_id
-- reads: billing_usage
-- Whom there is something to bill, from the first to the last quarter of an hour with usage.
select
    organization_id,
    min(quarter) as first_at,
    max(quarter) as last_at
from billing_usage
group by organization_id
order by organization_id
