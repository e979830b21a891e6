-- name: tensorzero_new
-- grain: id
-- unique: id
-- reads:
-- The rows of `tensorzero_rows` to add: requests, the first of each id, and none that the lake holds (`known`).
create table tensorzero_new as
select tensorzero_rows.*
from tensorzero_rows
anti join known on known.id = tensorzero_rows.id
where cause is null
qualify row_number() over (partition by tensorzero_rows.id order by source, row) = 1;
