-- name: incoming
-- grain: stale_hour
-- unique: stale_hour
-- reads: feedback
-- Hours whose rollups lack the rows of the segment $name that are not one of the $ids in its file.
create or replace temp table incoming as
select distinct case when metric = 'quality' then request_hour end as stale_hour
from feedback
where
    created_at >= $start
    and created_at < $end
    and segment = $name
    and feedback_id not in (select unnest($ids))
