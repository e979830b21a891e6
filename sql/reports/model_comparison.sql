-- name: model_comparison
-- grain: task_type, model_selected
-- unique: task_type, model_selected
-- reads: request_analytics, usage_quarter_hourly
-- Average cost, quality and output tokens per input token of successful requests; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/model_comparison.sql
with
    answered as (
        select
            task_type,
            model_selected,
            count(*) as requests,
            avg(cost_usd) as avg_cost,
            avg(tokens_output / nullif(tokens_input, 0)) as efficiency_ratio,
            avg(latency_ms) as avg_latency
        from request_analytics
        where
            success
            and timestamp >= time_bucket(
                interval '15 minutes',
                coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)
            )
            and timestamp < coalesce(
                time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)),
                now()
            )
            and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
        group by
            task_type,
            model_selected
    ),

    judged as (
        select
            task_type,
            model_selected,
            sum(requests_with_quality) as requests_with_quality,
            sum(quality_micro) / (1000000 * nullif(sum(requests_with_quality), 0)) as quality_mean
        from usage_quarter_hourly
        where
            quarter_hour >= time_bucket(
                interval '15 minutes',
                coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)
            )
            and quarter_hour < coalesce(
                time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)),
                now()
            )
            and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
        group by
            task_type,
            model_selected
    )

select
    answered.task_type,
    answered.model_selected,
    answered.requests,
    answered.avg_cost,
    judged.requests_with_quality,
    judged.quality_mean,
    answered.efficiency_ratio,
    answered.avg_latency
from answered
left join judged
    on judged.task_type = answered.task_type
    and judged.model_selected is not distinct from answered.model_selected
order by
    answered.task_type,
    answered.avg_cost nulls last,
    answered.model_selected;
