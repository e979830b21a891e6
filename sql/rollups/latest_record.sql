-- name: latest_record
-- grain: one row
-- unique: one row
-- reads: usage_hourly
-- Moment of the latest request or judgement; NULL without any.
select greatest(max(last_request_at), max(last_feedback_at)) as latest_at
from usage_hourly
