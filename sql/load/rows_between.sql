-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Columns of the rows from $start to $end, for an engine that reads files.
select
    {columns}
from {table}
where
    {moment} >= $start
    and {moment} < $end
