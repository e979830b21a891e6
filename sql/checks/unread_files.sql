-- name: unread_files
-- grain: path
-- unique: path
-- reads: pipeline.quarantine, pipeline.archived_parts
-- Files of the lake that are not read, and why: segments in quarantine, archived files that overlap.
select
    path,
    reason
from pipeline.quarantine
union all
select
    path,
    problem as reason
from pipeline.archived_parts
where problem is not null
order by path
