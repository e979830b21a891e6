-- name: pipeline.linked_segments
-- grain: dataset, name
-- unique: dataset, name
-- reads:
-- The file of the segment $name of $dataset as it is now, with the same content.
update pipeline.linked_segments
set
    file_bytes = $file_bytes,
    changed_ns = $changed_ns
where
    dataset = $dataset
    and name = $name
