-- name: {table}
-- grain: segment
-- unique: segment
-- reads: {table}
-- Rows that the table holds of each segment.
select
    segment,
    count(*) as rows
from {table}
group by segment
