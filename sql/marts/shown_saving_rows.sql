-- name: shown_saving_rows
-- grain: scope, subject
-- unique: scope, subject
-- reads: savings
-- The saving in whole, by organisation and by task, for the preview that Dagster shows.
select
    scope,
    coalesce(organization_id, task_type) as subject,
    requests,
    round(saved_usd, 2) as saved_usd,
    round(saved_usd_low, 2) as saved_usd_low,
    round(saved_usd_high, 2) as saved_usd_high,
    reason
from savings
order by
    scope,
    requests desc,
    subject
limit 40
