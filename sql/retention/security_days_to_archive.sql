-- name: security_days_to_archive
-- grain: day
-- unique: day
-- reads: security_events_daily
-- Days of security events that expire, oldest first.
select distinct day
from security_events_daily
where day < cast(cast($cutoff as timestamptz) as date)
order by day
