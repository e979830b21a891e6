-- name: pipeline.stale_hours
-- grain: hour
-- unique: hour
-- reads: incoming, pipeline.stale_hours
-- Hours whose rollups no longer agree with the raw rows.
insert into pipeline.stale_hours (hour)
select distinct stale_hour
from incoming
where
    stale_hour is not null
    and stale_hour not in (select hour from pipeline.stale_hours)
