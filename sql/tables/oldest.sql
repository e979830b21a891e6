-- name: {table}
-- grain: one row
-- unique: one row
-- reads: {table}
-- Moment of the oldest row; NULL if the table is empty.
select min({moment}) as oldest
from {table}
