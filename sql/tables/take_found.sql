-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Insert the rows that are registered as `found`.
insert into {table} by name
select *
from found
