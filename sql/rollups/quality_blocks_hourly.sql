-- name: quality_blocks_hourly
-- grain: hour, task_type, model_selected, block
-- unique: hour, task_type, model_selected, block
-- reads: request_analytics, feedback, pipeline.removed_quality_blocks_hourly
-- Judged outcomes of the hours from $start to $end in blocks of $block_size, in the order of their
-- requests, which is what the change detector reads. A request's quality is its latest judgement.
-- Removed rows keep the place in the hour that they had among themselves.
insert into quality_blocks_hourly (
    hour,
    task_type,
    model_selected,
    block,
    first_at,
    outcomes,
    quality,
    quality_squared
)
with
    judgements as (
        select
            request_id,
            arg_max(value, (created_at, feedback_id)) as value
        from feedback
        where
            request_hour >= $start
            and request_hour < $end
            and metric = 'quality'
        group by request_id
    ),

    judged as (
        select
            date_trunc('hour', timestamp) as hour,
            task_type,
            model_selected,
            timestamp,
            cast(judgements.value as decimal(38, 12)) as quality,
            cast(judgements.value * judgements.value as decimal(38, 12)) as quality_squared,
            (
                row_number() over (
                    partition by date_trunc('hour', timestamp), task_type, model_selected
                    order by timestamp, id
                ) - 1
            ) // $block_size as block
        from request_analytics
        join judgements on judgements.request_id = request_analytics.id
        where
            timestamp >= $start
            and timestamp < $end
            and model_selected is not null
    ),

    parts as (
        select
            hour,
            task_type,
            model_selected,
            block,
            min(timestamp) as first_at,
            count(*) as outcomes,
            sum(quality) as quality,
            sum(quality_squared) as quality_squared
        from judged
        group by
            hour,
            task_type,
            model_selected,
            block
        union all
        select
            hour,
            task_type,
            model_selected,
            block,
            first_at,
            outcomes,
            quality,
            quality_squared
        from pipeline.removed_quality_blocks_hourly
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    task_type,
    model_selected,
    block,
    min(first_at) as first_at,
    sum(outcomes) as outcomes,
    sum(quality) as quality,
    sum(quality_squared) as quality_squared
from parts
group by
    hour,
    task_type,
    model_selected,
    block
