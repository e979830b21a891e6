-- name: expired_before
-- grain: one row
-- unique: one row
-- reads: pipeline.retention
-- Moment before which retention removed the requests; NULL if it has not.
select max(expired_before) as expired_before
from pipeline.retention
