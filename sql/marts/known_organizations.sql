-- name: known_organizations
-- grain: organization_id
-- unique: organization_id
-- reads: usage_by_org_daily, organizations
-- The organisations that records or organizations.yaml name, to find a misspelt one.
select organization_id
from usage_by_org_daily
where organization_id is not null
union
select id as organization_id
from organizations
