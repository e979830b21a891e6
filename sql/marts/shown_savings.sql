-- name: shown_savings
-- grain: one row
-- unique: one row
-- reads: savings
-- The saving of all requests against the baseline, with its interval, or the reason that there is none.
select
    baseline,
    requests,
    supported_share,
    cost_usd,
    saved_usd,
    saved_usd_low,
    saved_usd_high,
    quality_difference,
    reason
from savings
where scope = 'all'
