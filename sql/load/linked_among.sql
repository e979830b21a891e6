-- name: pipeline.linked_segments
-- grain: name
-- unique: name
-- reads: pipeline.linked_segments
-- Those of the segments $names of $dataset that are read in their files.
select
    name,
    schema_version,
    rows
from pipeline.linked_segments
where
    dataset = $dataset
    and name in (select unnest($names))
order by name
