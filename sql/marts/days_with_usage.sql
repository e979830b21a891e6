-- name: days_with_usage
-- grain: organization_id, day
-- unique: organization_id, day
-- reads: usage_by_org_daily
-- The days since $since on which each organisation sent requests.
select distinct
    organization_id,
    day
from usage_by_org_daily
where day >= cast($since as date)
