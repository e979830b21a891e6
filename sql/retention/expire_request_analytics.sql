-- name: request_analytics
-- grain: id
-- unique: id
-- reads: request_analytics
-- Delete the raw rows from $start to $end.
delete from request_analytics
where
    timestamp >= $start
    and timestamp < $end
