-- name: propensity_sums
-- grain: organization_id, task_type, size_class, model_decided
-- unique: organization_id, task_type, size_class, model_decided
-- reads: propensity_hourly
-- The inverse-propensity sums of $environment from $since to $until, of $task or of all (NULL), by
-- organisation where $by_organization says so.
select
    case when $by_organization then organization_id end as organization_id,
    task_type,
    size_class,
    model_decided,
    cast(sum(decisions) as double) as decisions,
    cast(sum(weight_micro) as double) as weight_micro,
    cast(sum(weight_squared_micro) as double) as weight_squared_micro,
    cast(sum(decisions_with_cost) as double) as decisions_with_cost,
    cast(sum(cost_nano) as double) as cost_nano,
    cast(sum(cost_squared_nano2) as double) as cost_squared_nano2,
    cast(
        sum(case when decisions_with_cost = decisions then weight_micro else weight_micro_with_cost end) as double
    ) as weight_micro_with_cost,
    cast(
        sum(case when decisions_with_cost = decisions then weight_squared_micro else weight_squared_micro_with_cost end) as double
    ) as weight_squared_micro_with_cost,
    cast(sum(cost_weighted_nano) as double) as cost_weighted_nano,
    cast(sum(cost_weighted_squared_nano2) as double) as cost_weighted_squared_nano2,
    cast(sum(cost_weight_squared_nano) as double) as cost_weight_squared_nano,
    cast(sum(decisions_with_quality) as double) as decisions_with_quality,
    cast(sum(quality_micro) as double) as quality_micro,
    cast(sum(quality_squared_micro) as double) as quality_squared_micro,
    cast(sum(weight_micro_with_quality) as double) as weight_micro_with_quality,
    cast(sum(weight_squared_micro_with_quality) as double) as weight_squared_micro_with_quality,
    cast(sum(quality_weighted_micro) as double) as quality_weighted_micro,
    cast(sum(quality_weighted_squared_micro) as double) as quality_weighted_squared_micro,
    cast(sum(quality_weight_squared_micro) as double) as quality_weight_squared_micro
from propensity_hourly
where
    hour >= $since
    and hour < $until
    and environment = $environment
    and task_type = coalesce($task, task_type)
group by
    case when $by_organization then organization_id end,
    task_type,
    size_class,
    model_decided
order by
    organization_id,
    task_type,
    size_class,
    model_decided
