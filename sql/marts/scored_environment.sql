-- name: usage_quarter_hourly
-- grain: environment
-- unique: environment
-- reads: usage_quarter_hourly
-- The environment whose traffic the scores are of, and its last hour: $environment where it has
-- traffic, else the one with traffic in most hours. Hours after $now are of a wrong clock: they do not
-- move the window, unless there are no others.
select
    environment,
    date_trunc(
        'hour',
        coalesce(max(quarter_hour) filter (where quarter_hour <= $now), max(quarter_hour))
    ) as last_hour
from usage_quarter_hourly
group by environment
order by
    environment = $environment desc,
    count(distinct date_trunc('hour', quarter_hour)) desc,
    min(quarter_hour),
    environment
limit 1
