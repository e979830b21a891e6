-- name: rollup_cost_matches
-- grain: hour
-- unique: hour
-- reads: request_analytics, usage_hourly, pipeline.removed_usage_hourly
-- Hours between $start and $end whose rollup holds another cost than the rows, to the last decimal.
with
    counted as (
        select
            date_trunc('hour', timestamp) as hour,
            sum(cost_usd) as cost_usd,
            count(cost_usd) as requests_with_cost
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        group by date_trunc('hour', timestamp)
        union all
        select
            hour,
            cost_usd,
            requests_with_cost
        from pipeline.removed_usage_hourly
        where
            hour >= $start
            and hour < $end
    ),

    raw as (
        select
            hour,
            sum(cost_usd) as cost_usd,
            sum(requests_with_cost) as requests_with_cost
        from counted
        group by hour
    ),

    rollup as (
        select
            hour,
            sum(cost_usd) as cost_usd,
            sum(requests_with_cost) as requests_with_cost
        from usage_hourly
        where
            hour >= $start
            and hour < $end
        group by hour
    )

select
    coalesce(raw.hour, rollup.hour) as hour,
    raw.cost_usd as cost_usd_raw,
    rollup.cost_usd as cost_usd_rollup,
    raw.requests_with_cost as requests_with_cost_raw,
    rollup.requests_with_cost as requests_with_cost_rollup
from raw
full join rollup on rollup.hour = raw.hour
where
    raw.cost_usd is distinct from rollup.cost_usd
    or raw.requests_with_cost is distinct from rollup.requests_with_cost
order by hour
limit 20
