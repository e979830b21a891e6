-- name: feedback
-- grain: feedback_id
-- unique: feedback_id
-- reads: feedback
-- Delete the judgements given from $start to $end.
delete from feedback
where
    created_at >= $start
    and created_at < $end
