-- name: quality_outcomes
-- grain: task_type, model, is_drawn, source
-- unique: task_type, model, is_drawn, source
-- reads: quality_blocks_hourly, score_changes, model_versions
-- The judged outcomes of $environment since $start, as they count today. Each change of the cell
-- multiplies the outcomes from before it by $discount; a change among requests that chance did not
-- decide counts for those of its source alone. Those of earlier versions of the model count together for
-- at most $old_outcomes, over all tasks. The weights of drawn outcomes are scaled to a mean of 1
-- within each hour, or as many hours as hold $group_size outcomes: they correct for a router that
-- sends other requests to one model than to another, and not for shares that move as it learns.
-- Decimals are rounded row by row, so that every order of addition gives the same total.
with
    last_versions as (
        select
            model,
            max(since) as since
        from model_versions
        group by model
    ),

    blocks as (
        select
            hour,
            task_type,
            model_selected as model,
            coalesce(first_at <= last_versions.since, false) as is_old,
            coalesce(is_drawn, false) as is_drawn,
            source,
            first_at,
            outcomes,
            coalesce(weight, outcomes) as weight,
            coalesce(weight_squared, outcomes) as weight_squared,
            coalesce(quality_weighted, quality) as quality,
            coalesce(quality_squared_weighted, quality_squared) as quality_squared
        from quality_blocks_hourly
        left join last_versions on last_versions.model = quality_blocks_hourly.model_selected
        where
            hour >= $start
            and coalesce(environment, $environment) = $environment
    ),

    hours as (
        select
            task_type,
            model,
            is_drawn,
            hour,
            sum(outcomes) as outcomes,
            sum(weight) as weight
        from blocks
        group by
            task_type,
            model,
            is_drawn,
            hour
    ),

    grouped as (
        select
            *,
            (sum(outcomes) over (partition by task_type, model, is_drawn order by hour) - outcomes)
                // $group_size as part
        from hours
    ),

    scales as (
        select
            task_type,
            model,
            is_drawn,
            hour,
            case
                when is_drawn
                then cast(sum(outcomes) over (partition by task_type, model, is_drawn, part) as double)
                    / cast(sum(weight) over (partition by task_type, model, is_drawn, part) as double)
                else 1.0
            end as scale
        from grouped
    ),

    counted as (
        select
            blocks.*,
            scales.scale,
            case
                when blocks.is_old
                then least(
                    $old_outcomes
                    / cast(sum(blocks.outcomes) over (partition by blocks.model, blocks.is_old) as double),
                    1.0
                )
                else 1.0
            end
            * pow(
                $discount,
                (
                    select count(*)
                    from score_changes
                    where
                        score_changes.task_type = blocks.task_type
                        and score_changes.model = blocks.model
                        and score_changes.changed_at > blocks.first_at
                        and (
                            score_changes.is_drawn is true
                            or (not blocks.is_drawn and score_changes.source is not distinct from blocks.source)
                        )
                )
            ) as part
        from blocks
        join scales on scales.task_type = blocks.task_type
            and scales.model = blocks.model
            and scales.is_drawn = blocks.is_drawn
            and scales.hour = blocks.hour
    )

select
    task_type,
    model,
    is_drawn,
    source,
    cast(sum(cast(part * scale * weight as decimal(38, 12))) as double) as outcomes,
    cast(sum(cast(part * scale * quality as decimal(38, 12))) as double) as quality,
    cast(sum(cast(part * scale * quality_squared as decimal(38, 12))) as double) as quality_squared,
    cast(sum(cast(scale * weight as decimal(38, 12))) as double) as weight,
    cast(sum(cast(scale * scale * weight_squared as decimal(38, 12))) as double) as weight_squared
from counted
group by
    task_type,
    model,
    is_drawn,
    source
order by
    task_type,
    model,
    is_drawn,
    source
