-- name: last_hour
-- grain: one row
-- unique: one row
-- reads: usage_hourly
-- The latest hour with requests that is not after $now; NULL without any.
select coalesce(max(hour) filter (where hour <= $now), max(hour)) as last_hour
from usage_hourly
