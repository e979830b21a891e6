-- name: latency_buckets_hourly
-- grain: hour, environment, task_type, model_selected, metric, bucket
-- unique: hour, environment, task_type, model_selected, metric, bucket
-- reads: request_analytics, pipeline.removed_latency_buckets_hourly
-- Latency of the hours from $start to $end as DDSketch bucket counts: ceil(ln(x) / ln(gamma)).
-- Successful requests only: failing fast is no speed. Below a microsecond counts as a microsecond.
insert into latency_buckets_hourly (
    hour,
    environment,
    task_type,
    model_selected,
    metric,
    bucket,
    requests
)
with
    measured as (
        select
            timestamp,
            environment,
            task_type,
            model_selected,
            'latency_ms' as metric,
            latency_ms as milliseconds
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
            and success
            and model_selected is not null
        union all
        select
            timestamp,
            environment,
            task_type,
            model_selected,
            'ttft_ms' as metric,
            ttft_ms as milliseconds
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
            and success
            and model_selected is not null
            and ttft_ms is not null
    ),

    parts as (
        select
            time_bucket(interval '1 hour', timestamp) as hour,
            environment,
            task_type,
            model_selected,
            metric,
            cast(ceil(ln(greatest(milliseconds, 1e-3)) / ln($gamma)) as integer) as bucket,
            cast(count(*) as bigint) as requests
        from measured
        group by
            time_bucket(interval '1 hour', timestamp),
            environment,
            task_type,
            model_selected,
            metric,
            cast(ceil(ln(greatest(milliseconds, 1e-3)) / ln($gamma)) as integer)
        union all
        select
            hour,
            environment,
            task_type,
            model_selected,
            metric,
            bucket,
            requests
        from pipeline.removed_latency_buckets_hourly
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    environment,
    task_type,
    model_selected,
    metric,
    bucket,
    sum(requests) as requests
from parts
group by
    hour,
    environment,
    task_type,
    model_selected,
    metric,
    bucket
