-- name: divide
-- grain: function
-- unique: function
-- reads: 
-- A division that gives NULL for a divisor of zero.
create or replace function {schema}.divide(numeric, numeric) returns numeric
language sql immutable strict parallel safe
as 'select $1 operator(pg_catalog./) nullif($2, 0)'
