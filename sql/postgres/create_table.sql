-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: 
-- A table with the columns of the warehouse's, in PostgreSQL's types.
create table {table} (
    {columns}
)
