-- name: columns
-- grain: table_name, column_name
-- unique: table_name, column_name
-- reads:
-- Every column of the database with its table's comment and its own; the schema `pipeline` comes last.
select
    if(tables.schema_name = 'main', '', tables.schema_name || '.') || tables.table_name as table_name,
    tables.comment as table_comment,
    columns.column_name,
    columns.data_type,
    columns.is_nullable,
    columns.comment
from duckdb_tables() as tables
join duckdb_columns() as columns on columns.table_oid = tables.table_oid
where
    not tables.internal
    and not tables.temporary
    and tables.database_name = current_database()
    and columns.database_name = current_database()
order by
    tables.schema_name,
    tables.table_name,
    columns.column_index
