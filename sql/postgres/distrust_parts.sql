-- name: {schema}.copied_parts
-- grain: table_name, part
-- unique: table_name, part
-- reads: {schema}.copied_parts
-- Have every part of a table copied again, while its rows stay.
update {schema}.copied_parts
set digest = ''
where table_name = $1
