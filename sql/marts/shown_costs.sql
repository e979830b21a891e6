-- name: shown_costs
-- grain: one row
-- unique: one row
-- reads: task_cost_daily
-- Requests, money and quality of the last day up to $today, and of the 30 days that end with it.
with
    newest as (select max(day) as day from task_cost_daily where day <= $today),

    recent as (
        select
            task_cost_daily.*,
            task_cost_daily.day = newest.day as is_last
        from task_cost_daily
        cross join newest
        where
            task_cost_daily.day > newest.day - interval '30 days'
            and task_cost_daily.day <= newest.day
    )

select
    max(day) as last_day,
    sum(requests) filter (where is_last) as requests_last_day,
    sum(cost_usd) filter (where is_last) as cost_usd_last_day,
    sum(requests - requests_with_cost) filter (where is_last) as unknown_cost_last_day,
    sum(quality_mean * requests_with_quality) filter (where is_last)
        / nullif(sum(requests_with_quality) filter (where is_last), 0) as quality_mean_last_day,
    sum(requests) as requests_30_days,
    sum(cost_usd) as cost_usd_30_days,
    1000 * sum(cost_usd) / nullif(sum(requests_with_cost), 0) as cost_usd_per_1000_requests_30_days,
    sum(requests - requests_with_cost) as unknown_cost_30_days,
    sum(quality_mean * requests_with_quality)
        / nullif(sum(requests_with_quality), 0) as quality_mean_30_days
from recent
