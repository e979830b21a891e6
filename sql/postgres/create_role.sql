-- name: role
-- grain: role
-- unique: role
-- reads: 
-- A role that may read the copies. It cannot log in.
create role {role} nologin
