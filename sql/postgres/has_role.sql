-- name: role
-- grain: role
-- unique: role
-- reads: pg_catalog.pg_roles
-- Whether the server has a role.
select exists (select 1 from pg_catalog.pg_roles where rolname = $1)
