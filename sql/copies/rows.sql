-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- The rows of the parts in $parts, as the staging table of a copy holds them.
select {columns}
from {table}
where list_contains($parts, {part})
