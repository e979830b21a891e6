-- name: pipeline.linked_segments
-- grain: name
-- unique: name
-- reads: pipeline.linked_segments
-- Segments of $dataset that are read in their files, with rows that count from $start to $end.
select
    name,
    first_at,
    schema_version
from pipeline.linked_segments
where
    dataset = $dataset
    and first_hour < $end
    and last_hour + interval 1 hour > $start
order by name
