-- name: uncounted_samples
-- grain: one row
-- unique: one row
-- reads: pipeline.linked_segments
-- From when to when the files lie whose samples for the task classifier are not counted; NULL without any.
select
    min(first_hour) as first_hour,
    max(last_hour) + interval 1 hour as end_hour
from pipeline.linked_segments
where
    dataset = 'request_analytics'
    and samples is null
