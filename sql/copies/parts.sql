-- name: {table}
-- grain: part
-- unique: part
-- reads: {table}
-- The rows of each part of a table, and a digest of them that does not depend on their order.
select
    {part} as part,
    count(*) as rows,
    cast(sum(hash({digested})) as varchar) as digest
from {table}
group by part
order by part
