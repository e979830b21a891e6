-- name: hours_to_watch
-- grain: hour
-- unique: hour
-- reads: usage_hourly, pipeline.watched
-- Hours from $start to $end that the watch has not seen, or that changed since it did.
with
    usage as (
        select
            date_trunc('hour', hour) as hour,
            sum(requests) as requests,
            sum(successes) as successes,
            sum(cost_usd) as cost_usd
        from usage_hourly
        where
            hour >= $start
            and hour < $end
        group by date_trunc('hour', hour)
    )

select usage.hour
from usage
left join pipeline.watched on pipeline.watched.hour = usage.hour
where
    pipeline.watched.hour is null
    or pipeline.watched.requests <> usage.requests
    or pipeline.watched.successes <> usage.successes
    or pipeline.watched.cost_usd is distinct from usage.cost_usd
order by usage.hour
