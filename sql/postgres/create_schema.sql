-- name: {schema}
-- grain: schema
-- unique: schema
-- reads: 
-- The schema that holds the copies, and no other table of ours.
create schema if not exists {schema}
