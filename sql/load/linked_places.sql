-- name: pipeline.linked_segments
-- grain: name
-- unique: name
-- reads: pipeline.linked_segments, pipeline.load_ledger
-- Segments of $dataset that are read in their files, with rows that count from $start to $end: their rows, and
-- their paths in the lake. `linked_between` is the same without the ledger, for each narrowed view.
select
    linked_segments.name,
    linked_segments.schema_version,
    linked_segments.rows,
    load_ledger.path
from pipeline.linked_segments
left join pipeline.load_ledger
    on load_ledger.dataset = linked_segments.dataset
    and load_ledger.name = linked_segments.name
where
    linked_segments.dataset = $dataset
    and linked_segments.first_hour < $end
    and linked_segments.last_hour + interval 1 hour > $start
order by linked_segments.name
