-- name: request_logs
-- grain: request_id
-- unique: request_id
-- reads: request_logs
-- Delete the audit trail from $start to $end.
delete from request_logs
where
    timestamp >= $start
    and timestamp < $end
