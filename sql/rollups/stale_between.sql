-- name: pipeline.stale_hours
-- grain: hour
-- unique: hour
-- reads: request_analytics, feedback, usage_quarter_hourly, pipeline.stale_hours
-- Have the hours from $start to $end folded again: those with records, and those with a rollup.
insert into pipeline.stale_hours (hour)
with
    hours as (
        select date_trunc('hour', timestamp) as hour
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        union
        select request_hour as hour
        from feedback
        where
            request_hour >= $start
            and request_hour < $end
        union
        select date_trunc('hour', quarter_hour) as hour
        from usage_quarter_hourly
        where
            quarter_hour >= $start
            and quarter_hour < $end
    )

select hour
from hours
where hour not in (select hour from pipeline.stale_hours)
