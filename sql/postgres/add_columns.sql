-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: 
-- Columns that the warehouse's table has got since.
alter table {table}
    {columns}
