-- name: closed_days_are_counted
-- grain: dataset, segment
-- unique: dataset, segment
-- reads: pipeline.load_ledger
-- Segments between $start and $end that came after retention closed their day: no figure counts them.
-- `intellirouter admit` adds them.
select
    dataset,
    name as segment,
    rows_in_file as rows,
    cast(first_at as date) as day
from pipeline.load_ledger
where
    is_refused
    and replaced_by is null
    and first_at >= $start
    and first_at < $end
order by
    first_at,
    dataset,
    name
