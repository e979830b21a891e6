-- name: quality_blocks_hourly
-- grain: task_type, model_selected, hour, block
-- unique: task_type, model_selected, hour, block
-- reads: quality_blocks_hourly
-- The blocks of each cell since $start, in order.
select
    task_type,
    model_selected,
    first_at,
    outcomes,
    quality,
    quality_squared
from quality_blocks_hourly
where hour >= $start
order by
    task_type,
    model_selected,
    hour,
    block
