-- name: longer_ids
-- grain: user_id
-- unique: user_id
-- reads: request_analytics, request_logs
-- Ids of users that contain $user, itself included.
select user_id
from request_analytics
where contains(user_id, $user)
union
select user_id
from request_logs
where contains(user_id, $user)
