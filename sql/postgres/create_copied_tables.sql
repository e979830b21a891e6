-- name: {schema}.copied_tables
-- grain: table_name
-- unique: table_name
-- reads: 
-- The tables that the mirror made, with their columns as it made them.
create table if not exists {schema}.copied_tables (
    table_name text primary key,
    columns jsonb not null,
    created_at timestamptz not null default now()
)
