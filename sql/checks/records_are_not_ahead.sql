-- name: records_are_not_ahead
-- grain: segment
-- unique: dataset, segment
-- reads: pipeline.load_ledger
-- Segments with records between $start and $end, which lie in the future.
select
    dataset,
    name as segment,
    rows_loaded,
    last_at
from pipeline.load_ledger
where
    last_at >= $start
    and last_at < $end
    and replaced_by is null
    and expired_at is null
    and rows_loaded > 0
order by
    last_at desc,
    name
limit 20
