-- name: shown_score_rows
-- grain: task_type, model
-- unique: task_type, model
-- reads: task_model_scores
-- The most used rows of the scores, for the preview that Dagster shows.
select
    task_type,
    model,
    requests,
    quality_mean,
    quality_low,
    quality_high,
    cost_usd_mean,
    latency_ms_p95,
    success_rate
from task_model_scores
order by requests desc, task_type, model
limit 20
