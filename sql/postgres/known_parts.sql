-- name: {schema}.copied_parts
-- grain: part
-- unique: part
-- reads: {schema}.copied_parts
-- The parts that a table holds.
select
    part,
    rows,
    digest
from {schema}.copied_parts
where table_name = $1
