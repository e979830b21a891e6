-- name: new_task_samples
-- grain: one row
-- unique: one row
-- reads: request_analytics
-- Samples for the task classifier after $seen, and the moment of the latest.
select
    count(*) as samples,
    max(timestamp) as latest_at
from request_analytics
where
    timestamp > $seen
    and prompt_features is not null
    and task_type_source = 'caller'
