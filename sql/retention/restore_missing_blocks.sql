-- name: quality_blocks_hourly
-- grain: hour, environment, task_type, model_selected, block
-- unique: hour, environment, task_type, model_selected, block
-- reads: usage_hourly, quality_blocks_hourly
-- One block for each hour that was archived before there were blocks.
insert into quality_blocks_hourly by name
select
    hour,
    environment,
    task_type,
    model_selected,
    0 as block,
    hour as first_at,
    sum(requests_with_quality) as outcomes,
    sum(quality) as quality,
    sum(quality_squared) as quality_squared
from usage_hourly
where
    model_selected is not null
    and requests_with_quality > 0
    and hour not in (select hour from quality_blocks_hourly)
group by
    hour,
    environment,
    task_type,
    model_selected
