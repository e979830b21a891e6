-- name: experiment_results
-- grain: experiment_id, unit, variant, cluster
-- unique: experiment_id, unit, variant, cluster
-- reads: experiment_hourly
-- What the results are computed from: sums since the start, by groups of units that are treated alike.
-- Under `organization` a group is an organisation, under `request` everything is one.
with
    groups as (
        select
            *,
            unit as counted_by,
            cast(bucket as varchar) as cluster
        from experiment_hourly
        where bucket is not null
        union all
        select
            *,
            'organization' as counted_by,
            organization_id as cluster
        from experiment_hourly
        where
            unit = 'user'
            and organization_id is not null
        union all
        select
            *,
            'request' as counted_by,
            'all' as cluster
        from experiment_hourly
        where unit = 'user'
    )

select
    experiment_id,
    counted_by as unit,
    variant,
    cluster,
    cast(sum(requests) as bigint) as requests,
    cast(sum(successes) as bigint) as successes,
    cast(sum(requests_with_cost) as bigint) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(cost_usd_squared) as cost_usd_squared,
    cast(sum(requests_with_quality) as bigint) as requests_with_quality,
    sum(quality) as quality,
    sum(quality_squared) as quality_squared,
    cast(sum(requests_with_latency) as bigint) as requests_with_latency,
    sum(latency_ms) as latency_ms,
    sum(latency_ms_squared) as latency_ms_squared
from groups
group by
    experiment_id,
    counted_by,
    variant,
    cluster
order by
    experiment_id,
    unit,
    variant,
    cluster
