-- name: pipeline.load_ledger
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger
-- Segments of $dataset whose rows are kept, with their paths in the lake.
select
    path,
    rows_in_file,
    rows_loaded
from pipeline.load_ledger
where
    dataset = $dataset
    and expired_at is null
    and replaced_by is null
    and rows_in_file > 0
order by path
