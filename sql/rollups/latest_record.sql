-- name: latest_record
-- grain: one row
-- unique: one row
-- reads: usage_quarter_hourly
-- Moment of the latest request or judgement that is not after $now; NULL without any.
select
    coalesce(
        greatest(
            max(last_request_at) filter (where last_request_at <= $now),
            max(last_feedback_at) filter (where last_feedback_at <= $now)
        ),
        greatest(max(last_request_at), max(last_feedback_at))
    ) as latest_at
from usage_quarter_hourly
