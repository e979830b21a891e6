-- name: latency
-- grain: task_type, model_selected
-- unique: task_type, model_selected
-- reads: request_analytics
-- How long successful requests took on each task and model, from the raw rows that are kept; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/latency.sql
select
    task_type,
    model_selected,
    count(*) as requests,
    quantile_cont(latency_ms, 0.5) as latency_ms_p50,
    quantile_cont(latency_ms, 0.95) as latency_ms_p95,
    quantile_cont(latency_ms, 0.99) as latency_ms_p99,
    quantile_cont(ttft_ms, 0.5) as ttft_ms_p50,
    quantile_cont(ttft_ms, 0.95) as ttft_ms_p95
from request_analytics
where
    success
    and timestamp >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and timestamp < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by
    task_type,
    model_selected
order by
    requests desc,
    task_type,
    model_selected;
