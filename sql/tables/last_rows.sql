-- name: {table}
-- grain: a row of the table
-- unique: a row of the table
-- reads: {table}
-- The last rows since $start, for the preview that Dagster shows.
select
    {columns}
from {table}
where {moment} >= $start
order by {moment} desc
limit 10
