-- name: stored_reconciliations
-- grain: id
-- unique: id
-- reads: reconciliations
-- The bills that the table holds.
select id
from reconciliations
order by id
