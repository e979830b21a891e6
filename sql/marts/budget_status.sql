-- name: budget_status
-- grain: budget and its subject
-- unique: budget_id, scope, subject
-- reads: budget_status
-- The budgets as people ask for them, those closest to their limit first. NULL for $organization is all.
select
    budget_id,
    scope,
    coalesce(session_id, user_id, api_key_id, organization_id) as subject,
    period,
    mode,
    period_end,
    limit_usd,
    spent_usd,
    remaining_usd,
    spent_share,
    projected_usd,
    projected_share,
    alert_reached,
    requests,
    requests_without_cost,
    projection,
    as_of
from budget_status
where
    $organization is null
    or organization_id = $organization
order by
    spent_share desc nulls last,
    budget_id,
    subject
