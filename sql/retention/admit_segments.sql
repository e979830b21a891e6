-- name: pipeline.load_ledger
-- grain: dataset, name
-- unique: dataset, name
-- reads:
-- The segments $names of $dataset are counted now.
update pipeline.load_ledger
set is_refused = false
where
    dataset = $dataset
    and name in (select unnest($names))
