-- name: duckdb_columns
-- grain: column_name
-- unique: column_name
-- reads:
-- The columns of the table $table, in order.
select column_name
from duckdb_columns()
where
    schema_name = 'main'
    and table_name = $table
    and database_name = current_database()
order by column_index
