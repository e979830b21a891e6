-- name: {table}
-- grain: {moment}
-- unique: {moment}
-- reads: {table}
-- Delete the rows from $start to $end: they are computed again, or past their period.
delete from {table}
where
    {moment} >= cast($start as timestamptz)
    and {moment} < cast($end as timestamptz)
