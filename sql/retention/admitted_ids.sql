-- name: admitted_ids
-- grain: id
-- unique: id
-- reads: request_analytics
-- The requests of the segments that are admitted together.
select id
from request_analytics
