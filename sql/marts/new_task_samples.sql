-- name: new_task_samples
-- grain: one row
-- unique: one row
-- reads: request_analytics
-- Samples for the task classifier after $seen.
select count(*) as samples
from request_analytics
where
    timestamp > $seen
    and prompt_features is not null
    and task_type_source = 'caller'
