-- name: pipeline.linked_segments
-- grain: dataset, name
-- unique: dataset, name
-- reads: request_analytics, pipeline.linked_segments
-- Counts the samples for the task classifier in the files where they are not counted.
update pipeline.linked_segments
set
    samples = counted.samples,
    last_sample_at = counted.last_sample_at
from (
    select
        linked_segments.name,
        count(source.id) as samples,
        max(source.timestamp) as last_sample_at
    from pipeline.linked_segments
    left join request_analytics as source
        on
            linked_segments.name = source.segment
            and source.timestamp between linked_segments.first_at and linked_segments.last_at
            and source.prompt_features is not null
            and source.task_type_source = 'caller'
    where
        linked_segments.dataset = 'request_analytics'
        and linked_segments.samples is null
    group by linked_segments.name
) as counted
where
    linked_segments.dataset = 'request_analytics'
    and linked_segments.name = counted.name
