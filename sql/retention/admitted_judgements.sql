-- name: admitted_judgements
-- grain: feedback_id
-- unique: feedback_id
-- reads: feedback
-- The judgements of the segments that are admitted together.
select feedback_id
from feedback
