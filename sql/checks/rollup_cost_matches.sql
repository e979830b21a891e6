-- name: rollup_cost_matches
-- grain: quarter_hour
-- unique: quarter_hour
-- reads: request_analytics, usage_quarter_hourly, pipeline.removed_usage_quarter_hourly
-- Quarters of an hour between $start and $end whose rollup holds another cost than the rows, to the last
-- decimal.
with
    counted as (
        select
            time_bucket(interval '15 minutes', timestamp) as quarter_hour,
            sum(cost_usd) as cost_usd,
            count(cost_usd) as requests_with_cost
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        group by time_bucket(interval '15 minutes', timestamp)
        union all
        select
            quarter_hour,
            cost_usd,
            requests_with_cost
        from pipeline.removed_usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
    ),

    raw as (
        select
            quarter_hour,
            sum(cost_usd) as cost_usd,
            sum(requests_with_cost) as requests_with_cost
        from counted
        group by quarter_hour
    ),

    rollup as (
        select
            quarter_hour,
            sum(cost_usd) as cost_usd,
            sum(requests_with_cost) as requests_with_cost
        from usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
        group by quarter_hour
    )

select
    coalesce(raw.quarter_hour, rollup.quarter_hour) as quarter_hour,
    raw.cost_usd as cost_usd_raw,
    rollup.cost_usd as cost_usd_rollup,
    raw.requests_with_cost as requests_with_cost_raw,
    rollup.requests_with_cost as requests_with_cost_rollup
from raw
full join rollup on rollup.quarter_hour = raw.quarter_hour
where
    raw.cost_usd is distinct from rollup.cost_usd
    or raw.requests_with_cost is distinct from rollup.requests_with_cost
order by quarter_hour
limit 20
