-- name: requests_of_user
-- grain: id, organization_id
-- unique: id, organization_id
-- reads: request_analytics, request_logs
-- Requests of $user with their organisation, in either table.
select
    id,
    organization_id
from request_analytics
where user_id = $user
union
select
    request_id as id,
    organization_id
from request_logs
where user_id = $user
