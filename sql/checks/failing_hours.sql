-- name: failing_hours
-- grain: hour
-- unique: hour
-- reads: pipeline.failing_hours
-- The hours in which the check $check_name last failed.
select hour
from pipeline.failing_hours
where check_name = $check_name
order by hour
