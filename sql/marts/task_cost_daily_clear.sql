-- name: task_cost_daily
-- grain: day
-- unique: day
-- reads: task_cost_daily
-- Remove the days from $start to $end before they are computed again.
delete from task_cost_daily
where
    day >= cast($start as date)
    and day < cast($end as date)
