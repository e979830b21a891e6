-- name: whole_hours
-- grain: one row
-- unique: one row
-- reads: usage_quarter_hourly
-- How many of $hours hold usage that an earlier release kept by whole hours, and the first of them.
select
    count(distinct quarter_hour) as hours,
    min(quarter_hour) as first_hour
from usage_quarter_hourly
where
    is_whole_hour
    and quarter_hour in (select unnest(cast($hours as timestamptz[])))
