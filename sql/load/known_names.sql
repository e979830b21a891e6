-- name: known_names
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger
-- Which of the segments in $names are in the ledger; none of them is older than $first_at.
select name
from pipeline.load_ledger
where
    dataset = $dataset
    and first_at >= $first_at
    and name in (select unnest($names))
