-- name: rows_before
-- grain: one row
-- unique: one row
-- reads: {table}
-- A row of the person $user from before $erased_at; none if all are later.
select 1 as found
from {table}
where
    user_id = $user
    and {moment} < $erased_at
limit 1
