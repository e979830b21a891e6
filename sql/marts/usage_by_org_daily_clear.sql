-- name: usage_by_org_daily
-- grain: day
-- unique: day
-- reads: usage_by_org_daily
-- Remove the days from $start to $end before they are computed again.
delete from usage_by_org_daily
where
    day >= cast($start as date)
    and day < cast($end as date)
