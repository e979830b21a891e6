-- name: {schema}.copied_parts
-- grain: table_name, part
-- unique: table_name, part
-- reads: 
-- The mirror's ledger: each part that a table holds, as the warehouse had it.
create table if not exists {schema}.copied_parts (
    table_name text not null,
    part text not null,
    rows bigint not null,
    digest text not null,
    copied_at timestamptz not null,
    primary key (table_name, part)
)
