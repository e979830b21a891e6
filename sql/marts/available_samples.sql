-- name: available_samples
-- grain: one row
-- unique: one row
-- reads: pipeline.linked_segments, request_analytics_rows
-- Samples for the task classifier, and the moment of the latest.
with counted as (
    select
        samples,
        last_sample_at
    from pipeline.linked_segments
    where dataset = 'request_analytics'
    union all
    select
        count(*) as samples,
        max(timestamp) as last_sample_at
    from request_analytics_rows
    where
        prompt_features is not null
        and task_type_source = 'caller'
)

select
    cast(sum(samples) as bigint) as samples,
    max(last_sample_at) as latest_at
from counted
