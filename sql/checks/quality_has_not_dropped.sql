-- name: score_changes
-- grain: task_type, model, is_drawn, source, changed_at
-- unique: task_type, model, is_drawn, source, changed_at
-- reads: score_changes
-- Models whose quality on a task dropped between $start and $end; what was known before counts little since.
select
    task_type,
    model,
    changed_at,
    round(quality_before, 3) as quality_before,
    round(quality_after, 3) as quality_after,
    round(z, 1) as z,
    is_drawn,
    source
from score_changes
where
    changed_at >= $start
    and changed_at < $end
    and z < 0
order by
    task_type,
    model,
    changed_at
