-- name: {table}
-- grain: one row
-- unique: one row
-- reads: {table}
-- Count of the rows of the segment $name, whose hour is from $start to $end.
select count(*) as rows
from {table}
where
    {moment} >= $start
    and {moment} < $end
    and segment = $name
