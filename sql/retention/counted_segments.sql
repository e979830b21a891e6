-- name: counted_segments
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger
-- Segments of $dataset whose rows are counted in the rollups.
select name
from pipeline.load_ledger
where
    dataset = $dataset
    and not is_refused
