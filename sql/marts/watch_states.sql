-- name: watch_states
-- grain: environment, scope, subject, metric
-- unique: environment, scope, subject, metric
-- reads: pipeline.watch_states
-- The newest memory of the watch that holds no hour from $changed on.
select
    next_hour,
    environment,
    scope,
    subject,
    metric,
    memory
from pipeline.watch_states
where
    next_hour = (select max(next_hour) from pipeline.watch_states where next_hour <= $changed)
order by all
