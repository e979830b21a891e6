-- name: {schema}.copied_parts
-- grain: table_name, part
-- unique: table_name, part
-- reads: {schema}.copied_parts
-- Forget the parts of a table that was removed.
delete from {schema}.copied_parts
where table_name = $1
