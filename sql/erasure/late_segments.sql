-- name: late_segments
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger, pipeline.tombstones_honoured
-- Segments with records of before $erased_at that were loaded since the tombstone $name was honoured.
select name
from pipeline.load_ledger
where
    first_at < $erased_at
    and replaced_by is null
    and loaded_at > all (select until from pipeline.tombstones_honoured where name = $name)
