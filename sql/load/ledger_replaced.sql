-- name: pipeline.load_ledger
-- grain: dataset, name
-- unique: dataset, name
-- reads:
-- Segments that $name replaces; their rows are its own now.
update pipeline.load_ledger
set replaced_by = $name
where
    dataset = $dataset
    and name in (select unnest($sources))
