-- name: security_events_changed
-- grain: changed
-- unique: changed
-- reads: security_events_found, security_events_daily
-- Rows of the days from $first on that differ between the mart and the table that it is computed from.
with
    kept as (
        select * from security_events_daily
        where day >= cast(cast($first as timestamptz) as date)
    ),

    differences as (
        (from security_events_found except from kept)
        union all
        (from kept except from security_events_found)
    )

select count(*) as changed
from differences
