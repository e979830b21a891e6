-- name: experiment_results
-- grain: experiment_id, design, unit, variant, cluster
-- unique: experiment_id, design, unit, variant, cluster
-- reads: experiment_hourly, pipeline.experiment_designs, pipeline.design_periods
-- What the results are computed from: sums since the start, by groups of units that are treated alike.
-- `design` is the JSON of the shares and variants that the requests were assigned by; NULL if not known.
-- Under `organization` a group is an organisation, under `request` everything is one.
with
    periods as (
        select
            experiment_id,
            design,
            starts_at,
            lead(starts_at) over (
                partition by experiment_id
                order by starts_at
            ) as ends_at
        from pipeline.design_periods
    ),

    phased as (
        select
            experiment_hourly.*,
            coalesce(experiment_designs.design, periods.design) as design
        from experiment_hourly
        left join pipeline.experiment_designs
            on experiment_designs.config_hash = experiment_hourly.config_hash
            and experiment_designs.experiment_id = experiment_hourly.experiment_id
        left join periods
            on periods.experiment_id = experiment_hourly.experiment_id
            and experiment_hourly.hour >= periods.starts_at
            and (periods.ends_at is null or experiment_hourly.hour < periods.ends_at)
    ),

    groups as (
        select
            *,
            unit as counted_by,
            cast(bucket as varchar) as cluster
        from phased
        where bucket is not null
        union all
        select
            *,
            'organization' as counted_by,
            organization_id as cluster
        from phased
        where
            unit = 'user'
            and organization_id is not null
        union all
        select
            *,
            'request' as counted_by,
            'all' as cluster
        from phased
        where unit = 'user'
    )

select
    experiment_id,
    design,
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
    sum(latency_ms_squared) as latency_ms_squared,
    min(hour) as first_hour,
    max(hour) as last_hour
from groups
group by
    experiment_id,
    design,
    counted_by,
    variant,
    cluster
order by
    experiment_id,
    design,
    unit,
    variant,
    cluster
