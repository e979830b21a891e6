-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads: {table}
-- Delete the rows of the segments $names, all from $first_at to $last_at: they are read in their files.
delete from {table}
where
    {moment} between $first_at and $last_at
    and segment in (select unnest($names))
