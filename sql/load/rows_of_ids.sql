-- name: {table}
-- grain: {key}
-- unique: {key}
-- reads: {table}
-- Rows from $start to $end with one of the $ids.
select *
from {table}
where
    {moment} >= $start
    and {moment} < $end
    and {key} in (select unnest($ids))
