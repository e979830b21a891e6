-- name: whole_saving
-- grain: one row
-- unique: one row
-- reads: savings
-- The saving of all requests that was computed last: its baseline, latest record and requests.
select
    baseline,
    as_of,
    requests
from savings
where scope = 'all'
