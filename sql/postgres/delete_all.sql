-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: {table}
-- Remove every row.
delete from {table}
