-- name: columns
-- grain: table_name, column_name
-- unique: table_name, column_name
-- reads: pg_catalog.pg_attribute
-- The columns of every table of the schema, as the server has them now.
select
    cast(relation.relname as text) as table_name,
    cast(attribute.attname as text) as column_name,
    format_type(attribute.atttypid, attribute.atttypmod) as kind,
    attribute.attnotnull and not attribute.atthasdef as is_required
from pg_catalog.pg_class as relation
join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation.oid
where
    namespace.nspname = $1
    and relation.relkind in ('r', 'p', 'v', 'm', 'f')
    and attribute.attnum > 0
    and not attribute.attisdropped
order by
    relation.relname,
    attribute.attnum
