-- name: experiments
-- grain: experiment_id, variant, metric
-- unique: experiment_id, variant, metric
-- reads: experiment_results
-- Each variant against the control of its experiment, with intervals that hold at every look.
-- In the DuckDB shell: .read sql/reports/experiments.sql
select
    experiment_id,
    variant,
    metric,
    is_control,
    requests,
    observations,
    mean,
    mean_low,
    mean_high,
    difference,
    difference_low,
    difference_high,
    verdict
from experiment_results
order by
    experiment_id,
    metric,
    is_control desc,
    variant;
