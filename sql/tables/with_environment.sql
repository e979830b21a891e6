-- name: tables_with_environment
-- grain: table_name
-- unique: table_name
-- reads:
-- The tables and views whose rows name their environment.
select
    database_name,
    table_name
from duckdb_columns()
where
    database_name = current_database()
    and schema_name = 'main'
    and column_name = 'environment'
order by table_name
