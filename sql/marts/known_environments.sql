-- name: known_environments
-- grain: environment
-- unique: environment
-- reads: task_cost_daily
-- The environments that records name, to find a misspelt one.
select distinct environment
from task_cost_daily
where environment is not null
