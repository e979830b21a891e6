-- name: quality_blocks_hourly
-- grain: environment, task_type, model_selected, is_drawn, source, hour, block
-- unique: environment, task_type, model_selected, is_drawn, source, hour, block
-- reads: quality_blocks_hourly
-- The blocks of each series of $environment from $start to $end, in order.
select
    environment,
    task_type,
    model_selected,
    is_drawn,
    source,
    first_at,
    outcomes,
    cast(quality as double) as quality,
    cast(quality_squared as double) as quality_squared
from quality_blocks_hourly
where
    hour >= $start
    and hour < $end
    and coalesce(environment, $environment) = $environment
order by
    environment,
    task_type,
    model_selected,
    is_drawn,
    source,
    hour,
    block
