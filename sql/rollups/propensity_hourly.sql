-- name: propensity_hourly
-- grain: hour, environment, organization_id, task_type, model_decided, size_class
-- unique: hour, environment, organization_id, task_type, model_decided, size_class
-- reads: request_analytics, feedback, pipeline.removed_propensity_hourly
-- Inverse-propensity sums of the hours from $start to $end, removed rows included. A decision counts if
-- chance made it for this request, and drew its model at least once in 1 / $odds_floor: requests that stay
-- with their session, pinned models and experiments do not. The weight is 1 / propensity. The outcome is
-- that of the model decided on, a fallback included. Every value becomes a whole number row by row, so that
-- every order of addition, and every engine, gives the same total. A request above 1,000 dollars counts as
-- one of 1,000, so that no sum leaves its type. `size_class` is the power of two that the estimated input
-- tokens are below. Weights with a known cost are NULL where they are those of all decisions.
insert into propensity_hourly (
    hour,
    environment,
    organization_id,
    task_type,
    model_decided,
    size_class,
    decisions,
    weight_micro,
    weight_squared_micro,
    decisions_with_cost,
    cost_nano,
    cost_squared_nano2,
    weight_micro_with_cost,
    weight_squared_micro_with_cost,
    cost_weighted_nano,
    cost_weighted_squared_nano2,
    cost_weight_squared_nano,
    decisions_with_quality,
    quality_micro,
    quality_squared_micro,
    weight_micro_with_quality,
    weight_squared_micro_with_quality,
    quality_weighted_micro,
    quality_weighted_squared_micro,
    quality_weight_squared_micro
)
with
    judgements as (
        select
            request_id,
            arg_max(
                value,
                (array_position(['program', 'judge', 'user'], source), created_at, feedback_id)
            ) as value
        from feedback
        where
            request_hour >= $start
            and request_hour < $end
            and metric = 'quality'
        group by request_id
    ),

    drawn as (
        select
            time_bucket(interval '1 hour', timestamp) as hour,
            environment,
            organization_id,
            task_type,
            model_decided,
            case
                when tokens_input_estimated < 1024 then 10
                when tokens_input_estimated < 16384 then 14
                when tokens_input_estimated >= 16384 then 32
            end as size_class,
            propensity,
            case when cost_usd is not null then least(cast(cost_usd as double), 1000) end as cost,
            judgements.value as quality
        from request_analytics
        left join judgements on judgements.request_id = request_analytics.id
        where
            timestamp >= $start
            and timestamp < $end
            and strategy = 'thompson'
            and model_decided is not null
            and propensity >= $odds_floor
    ),

    scaled as (
        select
            *,
            cast(round(1000000 / propensity) as bigint) as weight_micro,
            cast(round(1000000 / (propensity * propensity)) as bigint) as weight_squared_micro,
            cast(round(1000000000 * cost) as bigint) as cost_nano,
            cast(round(1000000000 * cost / propensity) as bigint) as cost_weighted_nano,
            cast(round(1000000000 * cost / (propensity * propensity)) as bigint) as cost_weight_squared_nano,
            cast(round(1000000 * quality) as bigint) as quality_micro,
            cast(round(1000000 * quality * quality) as bigint) as quality_squared_micro,
            cast(round(1000000 * quality / propensity) as bigint) as quality_weighted_micro,
            cast(round(1000000 * quality * quality / (propensity * propensity)) as bigint)
                as quality_weighted_squared_micro,
            cast(round(1000000 * quality / (propensity * propensity)) as bigint)
                as quality_weight_squared_micro
        from drawn
    ),

    parts as (
        select
            hour,
            environment,
            organization_id,
            task_type,
            model_decided,
            size_class,
            cast(count(*) as bigint) as decisions,
            sum(weight_micro) as weight_micro,
            sum(weight_squared_micro) as weight_squared_micro,
            cast(count(cost_nano) as bigint) as decisions_with_cost,
            sum(cost_nano) as cost_nano,
            sum(cast(cost_nano as decimal(19, 0)) * cast(cost_nano as decimal(19, 0))) as cost_squared_nano2,
            sum(weight_micro) filter (where cost_nano is not null) as weight_micro_with_cost,
            sum(weight_squared_micro) filter (where cost_nano is not null) as weight_squared_micro_with_cost,
            sum(cast(cost_weighted_nano as decimal(19, 0))) as cost_weighted_nano,
            sum(cast(cost_weighted_nano as decimal(19, 0)) * cast(cost_weighted_nano as decimal(19, 0))) as cost_weighted_squared_nano2,
            sum(cast(cost_weight_squared_nano as decimal(19, 0))) as cost_weight_squared_nano,
            cast(count(quality_micro) as bigint) as decisions_with_quality,
            sum(quality_micro) as quality_micro,
            sum(quality_squared_micro) as quality_squared_micro,
            sum(weight_micro) filter (where quality_micro is not null) as weight_micro_with_quality,
            sum(weight_squared_micro) filter (where quality_micro is not null) as weight_squared_micro_with_quality,
            sum(quality_weighted_micro) as quality_weighted_micro,
            sum(quality_weighted_squared_micro) as quality_weighted_squared_micro,
            sum(quality_weight_squared_micro) as quality_weight_squared_micro
        from scaled
        group by
            hour,
            environment,
            organization_id,
            task_type,
            model_decided,
            size_class
        union all
        select
            hour,
            environment,
            organization_id,
            task_type,
            model_decided,
            size_class,
            decisions,
            weight_micro,
            weight_squared_micro,
            decisions_with_cost,
            cost_nano,
            cost_squared_nano2,
            case
                when decisions_with_cost = decisions then weight_micro
                else weight_micro_with_cost
            end as weight_micro_with_cost,
            case
                when decisions_with_cost = decisions then weight_squared_micro
                else weight_squared_micro_with_cost
            end as weight_squared_micro_with_cost,
            cost_weighted_nano,
            cost_weighted_squared_nano2,
            cost_weight_squared_nano,
            decisions_with_quality,
            quality_micro,
            quality_squared_micro,
            weight_micro_with_quality,
            weight_squared_micro_with_quality,
            quality_weighted_micro,
            quality_weighted_squared_micro,
            quality_weight_squared_micro
        from pipeline.removed_propensity_hourly
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    environment,
    organization_id,
    task_type,
    model_decided,
    size_class,
    sum(decisions) as decisions,
    sum(weight_micro) as weight_micro,
    sum(weight_squared_micro) as weight_squared_micro,
    sum(decisions_with_cost) as decisions_with_cost,
    sum(cost_nano) as cost_nano,
    sum(cost_squared_nano2) as cost_squared_nano2,
    case when sum(decisions_with_cost) < sum(decisions) then sum(weight_micro_with_cost) end as weight_micro_with_cost,
    case when sum(decisions_with_cost) < sum(decisions) then sum(weight_squared_micro_with_cost) end as weight_squared_micro_with_cost,
    sum(cost_weighted_nano) as cost_weighted_nano,
    sum(cost_weighted_squared_nano2) as cost_weighted_squared_nano2,
    sum(cost_weight_squared_nano) as cost_weight_squared_nano,
    sum(decisions_with_quality) as decisions_with_quality,
    sum(quality_micro) as quality_micro,
    sum(quality_squared_micro) as quality_squared_micro,
    sum(weight_micro_with_quality) as weight_micro_with_quality,
    sum(weight_squared_micro_with_quality) as weight_squared_micro_with_quality,
    sum(quality_weighted_micro) as quality_weighted_micro,
    sum(quality_weighted_squared_micro) as quality_weighted_squared_micro,
    sum(quality_weight_squared_micro) as quality_weight_squared_micro
from parts
group by
    hour,
    environment,
    organization_id,
    task_type,
    model_decided,
    size_class
