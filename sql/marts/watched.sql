-- name: pipeline.watched
-- grain: hour
-- unique: hour
-- reads: usage_hourly
-- The hours from $start to $end as the watch has seen them, so that a later change of one is noticed.
insert into pipeline.watched (
    hour,
    requests,
    successes,
    cost_usd
)
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
