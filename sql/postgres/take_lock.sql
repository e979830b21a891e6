-- name: lock
-- grain: lock
-- unique: lock
-- reads: 
-- Whether this connection is now the only one that writes the schema.
select pg_try_advisory_lock(hashtextextended('intellirouter mirror ' || $1, 0))
