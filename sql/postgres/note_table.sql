-- name: {schema}.copied_tables
-- grain: table_name
-- unique: table_name
-- reads: 
-- Remember the columns of a table that the mirror made.
insert into {schema}.copied_tables (table_name, columns)
values ($1, cast($2 as jsonb))
on conflict (table_name) do update set columns = excluded.columns
