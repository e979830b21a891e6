-- name: pipeline.linked_segments
-- grain: name
-- unique: name
-- reads: pipeline.linked_segments
-- Segments of $dataset that are read in their files.
select
    name,
    first_at,
    schema_version
from pipeline.linked_segments
where dataset = $dataset
order by name
