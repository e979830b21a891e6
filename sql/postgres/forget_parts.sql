-- name: {schema}.copied_parts
-- grain: table_name, part
-- unique: table_name, part
-- reads: {schema}.copied_parts
-- Forget parts that the warehouse has no more, given as a JSON array.
delete from {schema}.copied_parts
where
    table_name = $1
    and part in (select jsonb_array_elements_text(cast($2 as jsonb)))
