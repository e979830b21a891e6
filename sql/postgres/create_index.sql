-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: 
-- An index for the rows of a part.
create index on {table} ({columns})
