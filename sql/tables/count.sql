-- name: {table}
-- grain: one row
-- unique: one row
-- reads: {table}
-- Count of the rows.
select count(*) as rows
from {table}
