-- name: usage_hourly
-- grain: environment
-- unique: environment
-- reads: usage_hourly
-- The environment whose traffic the scores are of, and its last hour: $environment where it has
-- traffic, else the one with traffic in most hours. Hours after $now are of a wrong clock: they do not
-- move the window, unless there are no others.
select
    environment,
    coalesce(max(hour) filter (where hour <= $now), max(hour)) as last_hour
from usage_hourly
group by environment
order by
    environment = $environment desc,
    count(distinct hour) desc,
    min(hour),
    environment
limit 1
