-- name: stale_days_of
-- grain: day
-- unique: day
-- reads: pipeline.stale_days
-- The stale days of $mart, in order.
select distinct day
from pipeline.stale_days
where mart = $mart
order by day
