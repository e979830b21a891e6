-- name: experiment_phases
-- grain: experiment_id, phase, variant
-- unique: experiment_id, phase, variant
-- reads: experiment_phases
-- Phases of the experiment $id, or of all if it is NULL, as people read them.
select
    experiment_id,
    phase,
    variant,
    share,
    coalesce(policy, model) as treatment,
    is_current,
    first_hour,
    last_hour,
    requests
from experiment_phases
where
    $id is null
    or experiment_id = $id
order by
    experiment_id,
    phase,
    variant
