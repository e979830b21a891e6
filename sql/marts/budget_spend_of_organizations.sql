-- name: budget_spend_of_organizations
-- grain: organization_id
-- unique: organization_id
-- reads: usage_hourly
-- Spending of organisations as `budget_spend` gives it for the others, in whole hours. Erased requests
-- stay in it, since an erasure gives no organisation its budget back.
select
    organization_id,
    cast(coalesce(sum(requests) filter (where hour >= $start), 0) as bigint) as requests,
    cast(coalesce(sum(requests_with_cost) filter (where hour >= $start), 0) as bigint) as requests_with_cost,
    sum(cost_usd) filter (where hour >= $start) as spent_usd,
    sum(cost_usd) filter (where hour >= $week_ago) as week_usd,
    sum(cost_usd) filter (where hour >= $week_ago and hour < $tail_end) as tail_usd,
    min(hour) as first_at
from usage_hourly
where
    hour >= $since
    and hour <= $until
    and organization_id is not null
group by organization_id
