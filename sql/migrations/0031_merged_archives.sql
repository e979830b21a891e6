-- name: 0031_merged_archives
-- grain: one row per archived file of a table's day
-- unique: table_name, day, name
-- reads:
-- The archived files that the tables hold, and the segments that came after their day was closed.

create table pipeline.archived_parts (
    table_name varchar not null,
    day date not null,
    name varchar not null,
    path varchar not null,
    problem varchar
);

alter table pipeline.load_ledger add column is_refused boolean default false;
