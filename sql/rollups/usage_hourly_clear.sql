-- name: usage_hourly
-- grain: hour
-- unique: hour
-- reads: usage_hourly
-- Remove the hours from $start to $end before they are computed again.
delete from usage_hourly
where
    hour >= $start
    and hour < $end
