-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Make the rows of the segments in $sources, all of one hour, rows of the segment $name.
update {table}
set segment = $name
where
    {moment} >= $start
    and {moment} < $end
    and segment in (select unnest($sources))
