-- name: shown_loop
-- grain: one row
-- unique: one row
-- reads: request_analytics
-- The scores that requests since $start were decided by: the newest, its age, and how many had any.
select
    max(timestamp) as last_request_at,
    arg_max(snapshot_id, timestamp) as snapshot_id,
    arg_max(snapshot_age_s, timestamp) as snapshot_age_s,
    count(*) as requests,
    count(snapshot_id) as requests_by_scores,
    count(*) filter (where is_exploration) as explorations
from request_analytics
where timestamp >= $start
