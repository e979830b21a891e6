-- name: pipeline.stale_hours
-- grain: hour
-- unique: hour
-- reads: pipeline.stale_hours
-- The rollups of $hour no longer agree with the raw rows.
insert into pipeline.stale_hours (hour)
select $hour as hour
where $hour not in (select hour from pipeline.stale_hours)
