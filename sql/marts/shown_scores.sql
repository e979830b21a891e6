-- name: shown_scores
-- grain: one row
-- unique: one row
-- reads: task_model_scores
-- Quality and cost over all tasks and models, each model by its number of requests.
select
    count(distinct model) as models,
    sum(quality_mean * requests_with_quality) / nullif(sum(requests_with_quality), 0) as quality_mean,
    sum(cost_usd_mean * requests_with_cost) / nullif(sum(requests_with_cost), 0) as cost_usd_mean,
    sum(requests_with_quality) as requests_with_quality
from task_model_scores
where
    task_type = '*'
    and model <> '*'
