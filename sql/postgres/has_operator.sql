-- name: operator
-- grain: operator
-- unique: operator
-- reads: pg_catalog.pg_operator
-- Whether the schema has its own division.
select exists (
    select 1
    from pg_catalog.pg_operator as operator
    join pg_catalog.pg_namespace as namespace on namespace.oid = operator.oprnamespace
    where
        namespace.nspname = $1
        and operator.oprname = '/'
)
