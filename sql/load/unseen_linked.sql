-- name: pipeline.linked_segments
-- grain: one row
-- unique: one row
-- reads: pipeline.linked_segments, pipeline.linked_views
-- A segment of $dataset with rows between $first_at and $last_at, if the view does not show its file yet.
select name
from pipeline.linked_segments
where
    dataset = $dataset
    and first_at <= $last_at
    and last_at >= $first_at
    and dataset not in (select dataset from pipeline.linked_views)
limit 1
