-- name: pipeline.load_ledger
-- grain: dataset, name
-- unique: dataset, name
-- reads:
-- Note the segments of before $cutoff as expired, but for those of the days in which some rows stay.
-- At the next load the rewritten segments take the rows of these over.
update pipeline.load_ledger
set expired_at = now()
where
    dataset = $dataset
    and last_at < $cutoff
    and expired_at is null
    and name not in (select unnest($trimmed))
