-- name: published_savings
-- grain: organization_id
-- unique: organization_id
-- reads: savings
-- The saving of each organisation, for the files that routers read.
select
    organization_id,
    baseline,
    environment,
    since,
    as_of,
    requests,
    supported_share,
    cost_usd,
    saved_usd,
    saved_usd_low,
    saved_usd_high,
    quality_difference,
    quality_difference_low,
    quality_difference_high,
    reason
from savings
where scope = 'organization'
order by organization_id
