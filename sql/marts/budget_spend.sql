-- name: budget_spend
-- grain: subject of $scope
-- unique: organization_id, api_key_id, user_id, session_id
-- reads: request_analytics
-- Spending of keys, users or sessions from $start to $until, and in the week before $until, which
-- starts at $week_ago. `tail_usd` is the part of that week before $tail_end.
with
    spending as (
        select
            case when $scope = 'session' then organization_id end as organization_id,
            case when $scope in ('key', 'session') then api_key_id end as api_key_id,
            case when $scope = 'user' then user_id end as user_id,
            case when $scope = 'session' then session_id end as session_id,
            timestamp,
            cost_usd
        from request_analytics
        where
            timestamp >= $since
            and timestamp <= $until
            and case $scope
                when 'key' then api_key_id
                when 'user' then user_id
                else session_id
            end is not null
    )

select
    organization_id,
    api_key_id,
    user_id,
    session_id,
    count(*) filter (where timestamp >= $start) as requests,
    count(cost_usd) filter (where timestamp >= $start) as requests_with_cost,
    sum(cost_usd) filter (where timestamp >= $start) as spent_usd,
    sum(cost_usd) filter (where timestamp >= $week_ago) as week_usd,
    sum(cost_usd) filter (where timestamp >= $week_ago and timestamp < $tail_end) as tail_usd,
    min(timestamp) as first_at
from spending
group by
    organization_id,
    api_key_id,
    user_id,
    session_id
having count(*) filter (where timestamp >= $start) > 0
