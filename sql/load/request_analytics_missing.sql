-- name: incoming
-- grain: stale_hour
-- unique: stale_hour
-- reads: request_analytics
-- Hours whose rollups lack the rows of the segment $name that are not one of the $ids in its file.
create or replace temp table incoming as
select distinct date_trunc('hour', timestamp) as stale_hour
from request_analytics
where
    timestamp >= $start
    and timestamp < $end
    and segment = $name
    and id not in (select unnest($ids))
