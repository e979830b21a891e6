-- name: pipeline.change_states
-- grain: one series of outcomes
-- unique: environment, task_type, model_selected, is_drawn, source
-- reads: pipeline.change_states
-- The newest memory of the change detector that holds finished hours only.
select
    environment,
    task_type,
    model_selected,
    is_drawn,
    source,
    next_hour,
    state,
    changes
from pipeline.change_states
where
    scored_environment = $environment
    and next_hour = (
        select max(next_hour)
        from pipeline.change_states
        where
            scored_environment = $environment
            and next_hour <= $last_hour
    )
