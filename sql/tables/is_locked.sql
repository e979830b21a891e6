-- name: settings
-- grain: one row
-- unique: one row
-- reads:
-- Whether the database's settings can no longer change.
select current_setting('lock_configuration') as is_locked
