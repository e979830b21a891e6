-- name: forgettable_segments
-- grain: dataset, name
-- unique: dataset, name
-- reads: pipeline.load_ledger
-- Segments that expired, or that others replaced, before $before. Refused ones stay: they can be admitted.
with recent as (
    select
        dataset,
        name
    from pipeline.load_ledger
    where loaded_at >= $before
)

select
    dataset,
    name,
    path
from pipeline.load_ledger
where
    not coalesce(is_refused, false)
    and (
        expired_at < $before
        or (
            replaced_by is not null
            and loaded_at < $before
            and (dataset, replaced_by) not in (select (dataset, name) from recent)
        )
    )
