-- name: experiment_hourly
-- grain: hour
-- unique: hour
-- reads: experiment_hourly
-- Remove the hours from $start to $end before they are computed again.
delete from experiment_hourly
where
    hour >= $start
    and hour < $end
