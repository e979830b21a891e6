-- name: {table}
-- grain: {key}
-- unique: {key}
-- reads: {table}
-- Delete the rows of the segment $name whose id is not one of the $ids in its file.
delete from {table}
where
    {moment} >= $start
    and {moment} < $end
    and segment = $name
    and {key} not in (select unnest($ids))
