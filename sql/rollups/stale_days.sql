-- name: pipeline.stale_days
-- grain: mart, day
-- unique: mart, day
-- reads: pipeline.stale_hours, pipeline.stale_days
-- The days whose daily marts follow the hours from $start to $end.
insert into pipeline.stale_days (mart, day)
select distinct
    marts.mart,
    cast(hour as date) as day
from pipeline.stale_hours
cross join (select unnest($marts) as mart) as marts
where
    hour >= $start
    and hour < $end
    and (marts.mart, cast(hour as date)) not in (select (mart, day) from pipeline.stale_days)
