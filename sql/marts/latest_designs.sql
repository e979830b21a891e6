-- name: latest_designs
-- grain: experiment_id
-- unique: experiment_id
-- reads: pipeline.design_periods
-- The design of each experiment that is in force, or was last.
select
    experiment_id,
    arg_max(design, starts_at) as design
from pipeline.design_periods
group by experiment_id
