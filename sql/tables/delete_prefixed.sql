-- name: {table}
-- grain: {column}
-- unique: {column}
-- reads: {table}
-- Delete the rows in which the column starts with $prefix.
delete from {table}
where starts_with({column}, $prefix)
