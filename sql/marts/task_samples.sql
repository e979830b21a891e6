-- name: task_samples
-- grain: id
-- unique: id
-- reads: request_analytics
-- The newest $limit requests whose task the caller named and whose prompt features are kept.
select
    id,
    task_type,
    prompt_features
from request_analytics
where
    prompt_features is not null
    and task_type_source = 'caller'
order by
    timestamp desc,
    id
limit $limit
