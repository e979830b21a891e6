-- name: recorded_organizations
-- grain: organization_id
-- unique: organization_id
-- reads: usage_by_org_daily
-- The organisations that records name, for the comparison with organizations.yaml.
select distinct organization_id
from usage_by_org_daily
where organization_id is not null
