-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Every row, in the order of the columns.
select *
from {table}
order by all
