-- name: names
-- grain: table_name
-- unique: schema_name, table_name
-- reads:
-- Every table of the database.
select table_name
from duckdb_tables()
