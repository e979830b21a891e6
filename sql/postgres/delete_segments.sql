-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: {table}
-- Remove the rows of segments, given as a JSON array of their names.
delete from {table}
where segment in (select jsonb_array_elements_text(cast($1 as jsonb)))
