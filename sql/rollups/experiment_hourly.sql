-- name: experiment_hourly
-- grain: hour, experiment_id, variant, organization_id, unit, bucket, config_hash
-- unique: hour, experiment_id, variant, organization_id, unit, bucket, config_hash
-- reads: request_analytics, feedback, pipeline.removed_experiment_hourly
-- Outcomes by variant of the hours from $start to $end, removed rows included.
-- Each request stands once under unit `session` and once under `user`, in one of $buckets groups of
-- such units by a hash: the spread between the groups tells how alike the requests of one unit are,
-- and a group names nobody. Requests without the unit have no bucket. Values are summed
-- as whole numbers, so that every engine gives the same digits. Squares of costs count a
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
    latency_ms_squared,
    config_hash
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
            time_bucket(interval '1 hour', timestamp) as hour,
            experiment_id,
            variant,
            organization_id,
            unit,
            md5(case when unit = 'session' then session_id else user_id end) as digest,
            config_hash,
            success,
            cost_usd,
            case
                when cost_usd is not null
                then cast(round(1000000000 * least(cast(cost_usd as double), 1000)) as bigint)
            end as cost_nano,
            cast(round(1000000 * judgements.value) as bigint) as quality,
            cast(round(1000000 * judgements.value * judgements.value) as bigint) as quality_squared,
            case when success then cast(round(1000 * latency_ms) as bigint) end as latency_us
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
            cast(
                (
                    16 * (strpos('0123456789abcdef', substr(digest, 17, 1)) - 1)
                    + strpos('0123456789abcdef', substr(digest, 18, 1)) - 1
                ) % $buckets
                as integer
            ) as bucket,
            cast(count(*) as bigint) as requests,
            cast(count(*) filter (where success) as bigint) as successes,
            cast(count(cost_usd) as bigint) as requests_with_cost,
            sum(cost_usd) as cost_usd,
            cast(
                sum(cast(cost_nano as decimal(19, 0)) * cast(cost_nano as decimal(19, 0)))
                * 0.000000000000000001 as decimal(38, 20)
            ) as cost_usd_squared,
            cast(count(quality) as bigint) as requests_with_quality,
            cast(cast(sum(quality) as bigint) * 0.000001 as decimal(38, 12)) as quality,
            cast(cast(sum(quality_squared) as bigint) * 0.000001 as decimal(38, 12)) as quality_squared,
            cast(count(latency_us) as bigint) as requests_with_latency,
            cast(cast(sum(latency_us) as bigint) * 0.001 as decimal(38, 6)) as latency_ms,
            cast(
                sum(cast(latency_us as decimal(19, 0)) * cast(latency_us as decimal(19, 0)))
                * 0.000001 as decimal(38, 6)
            ) as latency_ms_squared,
            config_hash
        from outcomes
        group by
            hour,
            experiment_id,
            variant,
            organization_id,
            unit,
            bucket,
            config_hash
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
            latency_ms_squared,
            config_hash
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
    sum(latency_ms_squared) as latency_ms_squared,
    config_hash
from parts
group by
    hour,
    experiment_id,
    variant,
    organization_id,
    unit,
    bucket,
    config_hash
