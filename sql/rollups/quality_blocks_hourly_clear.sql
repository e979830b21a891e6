-- name: quality_blocks_hourly
-- grain: hour
-- unique: hour
-- reads: quality_blocks_hourly
-- Remove the hours from $start to $end before they are computed again.
delete from quality_blocks_hourly
where
    hour >= $start
    and hour < $end
