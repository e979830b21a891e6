-- name: standing_ledger
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger
-- Segments of $dataset whose rows are their own, and whether retention removed them.
select
    name,
    path,
    sha256,
    rows_loaded,
    expired_at is not null as is_expired
from pipeline.load_ledger
where
    dataset = $dataset
    and replaced_by is null
