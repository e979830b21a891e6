-- name: {table}
-- grain: {moment}
-- unique: {moment}
-- reads: {table}
-- Delete the rows of before $cutoff.
delete from {table}
where {moment} < cast($cutoff as timestamptz)
