-- name: model_performance_history
-- grain: snapshot_id, task_type, model
-- unique: snapshot_id, task_type, model
-- reads: task_model_scores
-- The key figures of a snapshot, kept to see how each model moved.
insert into model_performance_history (
    snapshot_id,
    as_of,
    published_at,
    task_type,
    model,
    requests,
    requests_with_quality,
    quality_mean,
    quality_low,
    quality_high,
    cost_usd_mean,
    success_rate,
    latency_ms_p50,
    latency_ms_p95,
    tokens_output_mean
)
select
    $snapshot_id,
    $as_of,
    $published_at,
    task_type,
    model,
    requests,
    requests_with_quality,
    quality_mean,
    quality_low,
    quality_high,
    cost_usd_mean,
    success_rate,
    latency_ms_p50,
    latency_ms_p95,
    tokens_output_mean
from task_model_scores
where requests > 0
