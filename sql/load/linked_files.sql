-- name: linked_files
-- grain: dataset, name
-- unique: dataset, name
-- reads: pipeline.linked_segments, pipeline.load_ledger
-- Files that the views read, as they were when they were linked, with their paths in the lake.
select
    linked_segments.dataset,
    linked_segments.name,
    linked_segments.file_bytes,
    linked_segments.changed_ns,
    load_ledger.path,
    load_ledger.sha256
from pipeline.linked_segments
join pipeline.load_ledger
    on load_ledger.dataset = linked_segments.dataset
    and load_ledger.name = linked_segments.name
order by
    linked_segments.dataset,
    linked_segments.name
