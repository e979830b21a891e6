-- name: pipeline.migrations
-- grain: name
-- unique: name
-- reads:
-- The migrations that a database has had.
create schema if not exists pipeline;

create table if not exists pipeline.migrations (
    name varchar not null,
    applied_at timestamptz not null
);
