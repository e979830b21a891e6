-- name: usage_hourly
-- grain: environment
-- unique: environment
-- reads: usage_hourly
-- The environment whose traffic the scores are of, and its last hour: $environment where it has
-- traffic, else the one with traffic in most hours.
select
    environment,
    max(hour) as last_hour
from usage_hourly
group by environment
order by
    environment = $environment desc,
    count(distinct hour) desc,
    min(hour),
    environment
limit 1
