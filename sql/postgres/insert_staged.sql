-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: staging
-- Move the staged rows into their table, in its types.
insert into {table} ({names})
select {values}
from staging
