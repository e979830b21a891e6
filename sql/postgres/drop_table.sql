-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: 
-- Remove a table that the mirror made.
drop table if exists {table}
