-- name: overlapping_parts
-- grain: path
-- unique: path
-- reads: pipeline.archived_parts
-- Archived files that share segments with a larger part of their day, and are left out.
select
    path,
    problem
from pipeline.archived_parts
where problem is not null
order by path
