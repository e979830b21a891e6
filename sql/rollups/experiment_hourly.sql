-- name: experiment_hourly
-- grain: hour, experiment_id, variant, organization_id, unit, bucket
-- unique: hour, experiment_id, variant, organization_id, unit, bucket
-- reads: request_analytics, feedback, pipeline.removed_experiment_hourly
-- Outcomes by variant of the hours from $start to $end, removed rows included.
-- Each request stands once under unit `session` and once under `user`, in one of $buckets groups of
-- such units by a hash: the spread between the groups tells how alike the requests of one unit are,
-- and a group names nobody. Requests without the unit have no bucket. Squares of costs count a
-- request above 1,000 dollars as one of 1,000, so that no sum leaves its type.
insert into experiment_hourly (
    hour,
    experiment_id,
    variant,
    organization_id,
    unit,
    bucket,
    requests,
    successes,
    requests_with_cost,
    cost_usd,
    cost_usd_squared,
    requests_with_quality,
    quality,
    quality_squared,
    requests_with_latency,
    latency_ms,
    latency_ms_squared
)
with
    judgements as (
        select
            request_id,
            arg_max(
                value,
                (array_position(['program', 'judge', 'user'], source), created_at, feedback_id)
            ) as value
        from feedback
        where
            request_hour >= $start
            and request_hour < $end
            and metric = 'quality'
        group by request_id
    ),

    units as (
        select unnest(['session', 'user']) as unit
    ),

    outcomes as (
        select
            date_trunc('hour', timestamp) as hour,
            experiment_id,
            variant,
            organization_id,
            unit,
            cast(
                md5_number_lower(case when unit = 'session' then session_id else user_id end) % $buckets
                as integer
            ) as bucket,
            success,
            cost_usd,
            case
                when cost_usd is not null
                then cast(pow(least(cast(cost_usd as double), 1000), 2) as decimal(38, 20))
            end as cost_usd_squared,
            cast(judgements.value as decimal(38, 12)) as quality,
            cast(judgements.value * judgements.value as decimal(38, 12)) as quality_squared,
            case when success then cast(latency_ms as decimal(38, 6)) end as latency_ms,
            case when success then cast(latency_ms * latency_ms as decimal(38, 6)) end as latency_ms_squared
        from request_analytics
        cross join units
        left join judgements on judgements.request_id = request_analytics.id
        where
            timestamp >= $start
            and timestamp < $end
            and experiment_id is not null
            and variant is not null
    ),

    parts as (
        select
            hour,
            experiment_id,
            variant,
            organization_id,
            unit,
            bucket,
            count(*) as requests,
            count(*) filter (where success) as successes,
            count(cost_usd) as requests_with_cost,
            sum(cost_usd) as cost_usd,
            sum(cost_usd_squared) as cost_usd_squared,
            count(quality) as requests_with_quality,
            sum(quality) as quality,
            sum(quality_squared) as quality_squared,
            count(latency_ms) as requests_with_latency,
            sum(latency_ms) as latency_ms,
            sum(latency_ms_squared) as latency_ms_squared
        from outcomes
        group by
            hour,
            experiment_id,
            variant,
            organization_id,
            unit,
            bucket
        union all
        select
            hour,
            experiment_id,
            variant,
            organization_id,
            unit,
            bucket,
            requests,
            successes,
            requests_with_cost,
            cost_usd,
            cost_usd_squared,
            requests_with_quality,
            quality,
            quality_squared,
            requests_with_latency,
            latency_ms,
            latency_ms_squared
        from pipeline.removed_experiment_hourly
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    experiment_id,
    variant,
    organization_id,
    unit,
    bucket,
    sum(requests) as requests,
    sum(successes) as successes,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(cost_usd_squared) as cost_usd_squared,
    sum(requests_with_quality) as requests_with_quality,
    sum(quality) as quality,
    sum(quality_squared) as quality_squared,
    sum(requests_with_latency) as requests_with_latency,
    sum(latency_ms) as latency_ms,
    sum(latency_ms_squared) as latency_ms_squared
from parts
group by
    hour,
    experiment_id,
    variant,
    organization_id,
    unit,
    bucket
