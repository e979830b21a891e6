-- name: duckdb_constraints
-- grain: expression
-- unique: expression
-- reads:
-- The conditions that each row of the table $table meets.
select expression
from duckdb_constraints()
where
    table_name = $table
    and constraint_type = 'CHECK'
