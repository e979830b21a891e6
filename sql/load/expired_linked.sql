-- name: pipeline.linked_segments
-- grain: name
-- unique: name
-- reads: pipeline.linked_segments
-- Segments of $dataset from before $cutoff that are read in their files, except those of the days $trimmed.
select name
from pipeline.linked_segments
where
    dataset = $dataset
    and last_at < $cutoff
    and cast(first_at as date) not in (select unnest($trimmed))
