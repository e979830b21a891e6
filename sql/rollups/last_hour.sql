-- name: last_hour
-- grain: one row
-- unique: one row
-- reads: usage_quarter_hourly
-- The latest hour with requests that is not after $now; NULL without any.
select
    date_trunc(
        'hour',
        coalesce(max(quarter_hour) filter (where quarter_hour <= $now), max(quarter_hour))
    ) as last_hour
from usage_quarter_hourly
