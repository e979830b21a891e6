-- name: role
-- grain: role
-- unique: role
-- reads: 
-- Let the role read every copy.
grant select on all tables in schema {schema} to {role}
