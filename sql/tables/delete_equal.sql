-- name: {table}
-- grain: {column}
-- unique: {column}
-- reads: {table}
-- Delete the rows in which the column is $value.
delete from {table}
where {column} = $value
