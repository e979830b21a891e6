-- name: rollup_counts_match
-- grain: hour
-- unique: hour
-- reads: request_analytics, usage_hourly, pipeline.removed_usage_hourly
-- Hours between $start and $end whose rollup counts other requests than there are, or were.
with
    counted as (
        select
            date_trunc('hour', timestamp) as hour,
            count(*) as requests,
            0 as requests_removed
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        group by date_trunc('hour', timestamp)
        union all
        select
            hour,
            requests,
            requests as requests_removed
        from pipeline.removed_usage_hourly
        where
            hour >= $start
            and hour < $end
    ),

    raw as (
        select
            hour,
            sum(requests) as requests,
            sum(requests_removed) as requests_removed
        from counted
        group by hour
    ),

    rollup as (
        select
            hour,
            sum(requests) as requests
        from usage_hourly
        where
            hour >= $start
            and hour < $end
        group by hour
    )

select
    coalesce(raw.hour, rollup.hour) as hour,
    raw.requests as requests_raw,
    raw.requests_removed,
    rollup.requests as requests_rollup
from raw
full join rollup on rollup.hour = raw.hour
where raw.requests is distinct from rollup.requests
order by hour
limit 20
