-- name: pipeline.load_ledger
-- grain: dataset, name
-- unique: dataset, name
-- reads: pipeline.load_ledger
-- Forget the segments $names of $dataset.
delete from pipeline.load_ledger
where
    dataset = $dataset
    and name in (select unnest($names))
