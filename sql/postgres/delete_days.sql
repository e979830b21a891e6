-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: {table}
-- Remove the rows of days in UTC, given as a JSON array.
delete from {table} as kept
using (select cast(jsonb_array_elements_text(cast($1 as jsonb)) as date) as day) as gone
where
    kept.{moment} >= {start}
    and kept.{moment} < {stop}
