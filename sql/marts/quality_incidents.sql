-- name: quality_incidents
-- grain: task_type, model, changed_at
-- unique: task_type, model, changed_at
-- reads: score_changes
-- Drops of the judged quality since $since, each once although it may show in several kinds of judgements.
select
    task_type,
    model,
    min(changed_at) as changed_at,
    arg_max(quality_before, abs(z)) as quality_before,
    arg_max(quality_after, abs(z)) as quality_after,
    arg_max(outcomes_before, abs(z)) as outcomes_before
from score_changes
where
    changed_at >= $since
    and z < 0
group by
    task_type,
    model,
    cast(changed_at as date)
order by all
