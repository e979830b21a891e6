-- name: latency_buckets_hourly
-- grain: hour
-- unique: hour
-- reads: latency_buckets_hourly
-- Remove the hours from $start to $end before they are computed again.
delete from latency_buckets_hourly
where
    hour >= $start
    and hour < $end
