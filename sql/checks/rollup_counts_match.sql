-- name: rollup_counts_match
-- grain: quarter_hour
-- unique: quarter_hour
-- reads: request_analytics, usage_quarter_hourly, pipeline.removed_usage_quarter_hourly
-- Quarters of an hour between $start and $end whose rollup counts other requests than there are, or
-- were.
with
    counted as (
        select
            time_bucket(interval '15 minutes', timestamp) as quarter_hour,
            count(*) as requests,
            0 as requests_removed
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        group by time_bucket(interval '15 minutes', timestamp)
        union all
        select
            quarter_hour,
            requests,
            requests as requests_removed
        from pipeline.removed_usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
    ),

    raw as (
        select
            quarter_hour,
            sum(requests) as requests,
            sum(requests_removed) as requests_removed
        from counted
        group by quarter_hour
    ),

    rollup as (
        select
            quarter_hour,
            sum(requests) as requests
        from usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
        group by quarter_hour
    )

select
    coalesce(raw.quarter_hour, rollup.quarter_hour) as quarter_hour,
    raw.requests as requests_raw,
    raw.requests_removed,
    rollup.requests as requests_rollup
from raw
full join rollup on rollup.quarter_hour = raw.quarter_hour
where raw.requests is distinct from rollup.requests
order by quarter_hour
limit 20
