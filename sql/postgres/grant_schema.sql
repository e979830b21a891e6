-- name: role
-- grain: role
-- unique: role
-- reads: 
-- Let the role see the schema.
grant usage on schema {schema} to {role}
