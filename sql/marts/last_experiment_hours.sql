-- name: last_experiment_hours
-- grain: experiment_id
-- unique: experiment_id
-- reads: experiment_hourly
-- The latest hour of each experiment.
select
    experiment_id,
    max(hour) as last_hour
from experiment_hourly
group by experiment_id
