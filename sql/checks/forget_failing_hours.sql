-- name: pipeline.failing_hours
-- grain: check_name, hour
-- unique: check_name, hour
-- reads: pipeline.failing_hours
-- Forget the hours in which the check $check_name failed.
delete from pipeline.failing_hours
where check_name = $check_name
