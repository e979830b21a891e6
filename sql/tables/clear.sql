-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Delete every row.
delete from {table}
