-- name: refused_segments
-- grain: dataset, name
-- unique: dataset, name
-- reads: pipeline.load_ledger
-- Segments of requests that came after retention had closed their day, and that no rollup counts.
-- With the segments of feedback that were never loaded either: they may judge those requests.
select
    dataset,
    name,
    cast(first_at as date) as day
from pipeline.load_ledger
where
    replaced_by is null
    and (is_refused or dataset = 'feedback' and expired_at is not null and rows_loaded = 0)
order by
    first_at,
    dataset,
    name
