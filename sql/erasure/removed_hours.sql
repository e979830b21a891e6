-- name: removed_hours
-- grain: hour
-- unique: hour
-- reads: pipeline.removals
-- Requests that the erasures at $moments took out of each hour.
select
    hour,
    sum(rows_removed) as rows_removed
from pipeline.removals
where removed_at in (select unnest($moments))
group by hour
order by hour
