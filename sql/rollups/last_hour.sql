-- name: last_hour
-- grain: one row
-- unique: one row
-- reads: usage_hourly
-- The latest hour with requests; NULL without any.
select max(hour) as last_hour
from usage_hourly
