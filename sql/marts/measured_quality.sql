-- name: measured_quality
-- grain: model, task_type
-- unique: model, task_type
-- reads: task_model_scores
-- Posterior mean quality of each model on the tasks that it has had requests of.
select
    model,
    task_type,
    quality_mean
from task_model_scores
where
    quality_mean is not null
    and requests > 0
    and task_type <> $all_tasks
    and model <> $any_model
order by
    model,
    task_type
