-- name: quality_blocks_hourly
-- grain: hour, environment, task_type, model_selected, is_drawn, source, block
-- unique: hour, environment, task_type, model_selected, is_drawn, source, block
-- reads: request_analytics, feedback, pipeline.removed_quality_blocks_hourly
-- Judged outcomes of the hours from $start to $end in blocks of $block_size, in the order of their
-- requests, which is the order that the change detector needs. A request's quality is the latest
-- verdict of its highest source. `is_drawn` says that chance chose the model that answered: by a draw
-- of its own, or by that of its session in the same hour; pinned models, experiments, fallbacks and
-- greedy choices are not drawn. `weight` is the inverse of the chance, at most 1 / $min_propensity,
-- shared among the judged requests of one draw or session: together they count once.
-- Removed rows keep the place in the hour that they had among themselves. Values are summed as millionths,
-- in whole numbers, so that every engine gives the same digits.
insert into quality_blocks_hourly (
    hour,
    environment,
    task_type,
    model_selected,
    is_drawn,
    source,
    block,
    first_at,
    outcomes,
    quality,
    quality_squared,
    weight,
    weight_squared,
    quality_weighted,
    quality_squared_weighted
)
with
    judgements as (
        select
            request_id,
            arg_max(
                value,
                (array_position(['program', 'judge', 'user'], source), created_at, feedback_id)
            ) as value,
            arg_max(
                source,
                (array_position(['program', 'judge', 'user'], source), created_at, feedback_id)
            ) as source
        from feedback
        where
            request_hour >= $start
            and request_hour < $end
            and metric = 'quality'
        group by request_id
    ),

    session_draws as (
        select
            id,
            last_value(
                case
                    when strategy = 'thompson'
                    then struct_pack(
                        id := id,
                        model := coalesce(model_decided, model_selected),
                        propensity := propensity
                    )
                end ignore nulls
            ) over (
                partition by
                    time_bucket(interval '1 hour', timestamp), environment, organization_id, user_id, session_id
                order by
                    timestamp,
                    id
                rows between unbounded preceding and current row
            ) as decision
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
            and session_id is not null
            and strategy in ('thompson', 'sticky')
    ),

    chosen as (
        select
            request_analytics.id,
            time_bucket(interval '1 hour', timestamp) as hour,
            timestamp,
            environment,
            task_type,
            model_selected,
            judgements.value,
            judgements.source,
            case
                when strategy = 'thompson'
                then struct_pack(
                    id := request_analytics.id,
                    model := model_selected,
                    propensity := propensity
                )
                when strategy = 'sticky' and session_draws.decision.model = model_selected
                then session_draws.decision
            end as decision,
            model_decided is not distinct from model_selected or model_decided is null as is_its_own,
            case when strategy = 'sticky' then session_id else request_analytics.id end as own_unit,
            case when session_id is not null then (organization_id, user_id) end as owner
        from request_analytics
        join judgements on judgements.request_id = request_analytics.id
        left join session_draws on session_draws.id = request_analytics.id
        where
            timestamp >= $start
            and timestamp < $end
            and model_selected is not null
    ),

    marked as (
        select
            *,
            is_its_own and coalesce(decision.propensity > 0, false) as is_drawn
        from chosen
    ),

    shared as (
        select
            *,
            case
                when is_drawn then 1e0 / greatest(decision.propensity, $min_propensity)
                else 1e0
            end as inverse,
            count(*) over (
                partition by
                    hour,
                    environment,
                    task_type,
                    model_selected,
                    is_drawn,
                    owner,
                    case when is_drawn then decision.id else own_unit end
            ) as sharing
        from marked
    ),

    judged as (
        select
            hour,
            environment,
            task_type,
            model_selected,
            is_drawn,
            source,
            timestamp,
            cast(round(1000000 * value) as bigint) as quality,
            cast(round(1000000 * value * value) as bigint) as quality_squared,
            cast(round(1000000 * inverse / sharing) as bigint) as weight,
            cast(round(1000000 * inverse * inverse / sharing) as bigint) as weight_squared,
            cast(round(1000000 * value * inverse / sharing) as bigint) as quality_weighted,
            cast(round(1000000 * value * value * inverse / sharing) as bigint) as quality_squared_weighted,
            cast(
                row_number() over (
                    partition by hour, environment, task_type, model_selected, is_drawn, source
                    order by timestamp, id
                ) as bigint
            ) - 1 as place
        from shared
    ),

    parts as (
        select
            hour,
            environment,
            task_type,
            model_selected,
            is_drawn,
            source,
            cast((place - place % $block_size) / $block_size as bigint) as block,
            min(timestamp) as first_at,
            cast(count(*) as bigint) as outcomes,
            sum(quality) as quality,
            sum(quality_squared) as quality_squared,
            sum(weight) as weight,
            sum(weight_squared) as weight_squared,
            sum(quality_weighted) as quality_weighted,
            sum(quality_squared_weighted) as quality_squared_weighted
        from judged
        group by
            hour,
            environment,
            task_type,
            model_selected,
            is_drawn,
            source,
            place - place % $block_size
        union all
        select
            hour,
            environment,
            task_type,
            model_selected,
            is_drawn,
            source,
            block,
            first_at,
            outcomes,
            cast(round(1000000 * quality) as bigint) as quality,
            cast(round(1000000 * quality_squared) as bigint) as quality_squared,
            cast(round(1000000 * weight) as bigint) as weight,
            cast(round(1000000 * weight_squared) as bigint) as weight_squared,
            cast(round(1000000 * quality_weighted) as bigint) as quality_weighted,
            cast(round(1000000 * quality_squared_weighted) as bigint) as quality_squared_weighted
        from pipeline.removed_quality_blocks_hourly
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    environment,
    task_type,
    model_selected,
    is_drawn,
    source,
    block,
    min(first_at) as first_at,
    sum(outcomes) as outcomes,
    cast(cast(sum(quality) as bigint) * 0.000001 as decimal(38, 12)) as quality,
    cast(cast(sum(quality_squared) as bigint) * 0.000001 as decimal(38, 12)) as quality_squared,
    cast(cast(sum(weight) as bigint) * 0.000001 as decimal(38, 12)) as weight,
    cast(cast(sum(weight_squared) as bigint) * 0.000001 as decimal(38, 12)) as weight_squared,
    cast(cast(sum(quality_weighted) as bigint) * 0.000001 as decimal(38, 12)) as quality_weighted,
    cast(cast(sum(quality_squared_weighted) as bigint) * 0.000001 as decimal(38, 12)) as quality_squared_weighted
from parts
group by
    hour,
    environment,
    task_type,
    model_selected,
    is_drawn,
    source,
    block
