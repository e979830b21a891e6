-- name: session
-- grain: session
-- unique: session
-- reads:
-- Settings of the mirror's connection. It names every schema, so that no operator of ours is in its way.
select
    set_config('TimeZone', 'UTC', false),
    set_config('statement_timeout', $1, false),
    set_config('lock_timeout', $2, false),
    set_config('search_path', 'pg_catalog', false)
