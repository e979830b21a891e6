-- name: columns
-- grain: table_name, column_name
-- unique: table_name, column_name
-- reads:
-- Every column of the database with the comment of its table or view and its own. The schema `pipeline`
-- comes last.
with relations as (
    select schema_name, table_name, table_oid, comment, 'table' as kind
    from duckdb_tables()
    where not internal and not temporary and database_name = current_database()
    union all
    select schema_name, view_name, view_oid, comment, 'view' as kind
    from duckdb_views()
    where not internal and not temporary and database_name = current_database()
)
select
    if(relations.schema_name = 'main', '', relations.schema_name || '.') || relations.table_name
        as table_name,
    relations.comment as table_comment,
    columns.column_name,
    columns.data_type,
    columns.is_nullable,
    columns.comment,
    relations.kind
from relations
join duckdb_columns() as columns on columns.table_oid = relations.table_oid
where columns.database_name = current_database()
order by
    relations.schema_name,
    relations.table_name,
    columns.column_index
