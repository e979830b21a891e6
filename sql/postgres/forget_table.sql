-- name: {schema}.copied_tables
-- grain: table_name
-- unique: table_name
-- reads: {schema}.copied_tables
-- Forget a table that was removed.
delete from {schema}.copied_tables
where table_name = $1
