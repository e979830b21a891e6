-- name: requests_by_environment
-- grain: one row
-- unique: one row
-- reads: request_analytics
-- The requests of the environment $own from $since to $until, and those of all others.
select
    count(*) filter (environment = $own) as own,
    count(*) filter (environment <> $own) as elsewhere
from request_analytics
where timestamp >= $since
    and timestamp < coalesce(cast($until as timestamptz), 'infinity');
