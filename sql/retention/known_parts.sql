-- name: known_parts
-- grain: table_name, day, name
-- unique: table_name, day, name
-- reads: pipeline.archived_parts
-- The archived files that the tables hold.
select
    table_name,
    day,
    name
from pipeline.archived_parts
