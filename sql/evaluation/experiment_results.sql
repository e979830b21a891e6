-- name: experiment_results
-- grain: experiment_id, metric, variant
-- unique: experiment_id, metric, variant
-- reads: experiment_results
-- Results of the experiment $id, or of all if it is NULL, as people read them.
select
    experiment_id,
    metric,
    variant,
    requests,
    observations,
    mean,
    mean_low,
    mean_high,
    difference,
    difference_low,
    difference_high,
    sample_ratio_p,
    phases,
    units_in_several_variants,
    verdict
from experiment_results
where
    $id is null
    or experiment_id = $id
order by
    experiment_id,
    metric,
    is_control desc,
    variant
