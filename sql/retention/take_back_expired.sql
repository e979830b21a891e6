-- name: pipeline.load_ledger
-- grain: dataset, name
-- unique: dataset, name
-- reads: pipeline.load_ledger
-- Forget the segments from $cutoff on that were noted as expired without being loaded.
delete from pipeline.load_ledger
where
    expired_at is not null
    and rows_loaded = 0
    and last_at >= $cutoff
