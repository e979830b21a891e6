-- name: pipeline.linked_segments
-- grain: dataset, name
-- unique: dataset, name
-- reads: pipeline.linked_segments
-- Read the segments $names of $dataset no longer in their files.
delete from pipeline.linked_segments
where
    dataset = $dataset
    and name in (select unnest($names))
