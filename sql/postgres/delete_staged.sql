-- name: {table}
-- grain: the same as the warehouse's table
-- unique: the same as the warehouse's table
-- reads: {table}, staging
-- Remove rows that come again in another part, such as a merged segment.
delete from {table} as kept
using staging
where kept.{key} = {value}
