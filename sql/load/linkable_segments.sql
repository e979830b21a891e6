-- name: linkable_segments
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger, pipeline.linked_segments
-- Segments of $dataset with at least $fewest rows, all of them loaded, that are not read in their files.
select
    name,
    path,
    sha256,
    rows_loaded,
    first_at,
    last_at
from pipeline.load_ledger
where
    dataset = $dataset
    and schema_version = $schema_version
    and rows_loaded >= $fewest
    and rows_loaded = rows_in_file
    and replaced_by is null
    and expired_at is null
    and name not in (select name from pipeline.linked_segments where dataset = $dataset)
order by first_at
