-- name: spend_new
-- grain: row
-- unique: row
-- reads:
-- The rows of `spend_rows` to add: requests, the first of each id, and none that the lake holds (`known`).
create table spend_new as
with
    first_rows as (
        select min(row) as row
        from spend_rows
        where cause is null
        group by provider_request_id
    )

select
    spend_rows.row,
    cast(date_trunc('day', timestamp at time zone 'UTC') as date) as day
from spend_rows
semi join first_rows on first_rows.row = spend_rows.row
anti join known on known.provider_request_id = spend_rows.provider_request_id;
