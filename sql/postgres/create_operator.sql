-- name: /
-- grain: operator
-- unique: operator
-- reads: 
-- The division under its usual sign, for sessions that look into the schema first.
create operator {schema}./ (leftarg = numeric, rightarg = numeric, function = {schema}.divide)
