-- name: 0012_score_changes
-- grain: hour, task, model and block; task, model and moment
-- unique: hour, task_type, model_selected, block of quality_blocks_hourly; task_type, model, changed_at of score_changes
-- reads:
-- Judged outcomes in the order of their requests, and the moments at which a quality moved. Hours of
-- before are folded again; those whose raw rows have expired become one block each.

create table quality_blocks_hourly (
    hour timestamptz not null,
    task_type varchar not null,
    model_selected varchar not null,
    block bigint not null,
    first_at timestamptz not null,
    outcomes bigint not null,
    quality decimal(38, 12) not null,
    quality_squared decimal(38, 12) not null
);

create table pipeline.removed_quality_blocks_hourly as
from quality_blocks_hourly
limit 0;

create table score_changes (
    task_type varchar not null,
    model varchar not null,
    changed_at timestamptz not null,
    quality_before double not null,
    quality_after double not null,
    z double not null,
    outcomes_before bigint not null,
    outcomes_after bigint not null
);

insert into quality_blocks_hourly
select
    hour,
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
group by
    hour,
    task_type,
    model_selected;

insert into pipeline.stale_hours
select distinct hour
from usage_hourly
where hour not in (select hour from pipeline.stale_hours);
