-- name: incoming
-- grain: stale_hour
-- unique: stale_hour
-- reads: incoming
-- The hours whose rollups the rows of the load in progress make stale.
select distinct stale_hour
from incoming
where stale_hour is not null
