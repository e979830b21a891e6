-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Rows of the segment $name, in the columns of its file.
select {columns}
from {table}
where segment = $name
