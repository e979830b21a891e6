-- name: staging
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: 
-- Rows on their way into a table, until the transaction ends.
create temporary table staging (
    {columns}
) on commit drop
