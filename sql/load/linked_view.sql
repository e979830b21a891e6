-- name: {view}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Rows in the table, to which the parts in files are added.
create or replace view {view} as
select
    {columns}
from {table}
