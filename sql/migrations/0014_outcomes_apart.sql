-- name: 0014_outcomes_apart
-- grain: hour, environment, task, model, how chosen, source and block; a series of outcomes and an hour
-- unique: the keys before the first count of each table
-- reads:
-- Outcomes are kept apart by environment, by whether chance chose the model, and by the source of the
-- verdict. `weight` corrects for the chance with which a model was drawn. Hours are folded again; of
-- those whose raw rows have expired the new columns stay NULL: not known. `change_states` is what the
-- change detector remembers; it follows from the blocks.

alter table quality_blocks_hourly add column environment varchar;
alter table quality_blocks_hourly add column is_drawn boolean;
alter table quality_blocks_hourly add column source varchar;
alter table quality_blocks_hourly add column weight decimal(38, 12);
alter table quality_blocks_hourly add column weight_squared decimal(38, 12);
alter table quality_blocks_hourly add column quality_weighted decimal(38, 12);
alter table quality_blocks_hourly add column quality_squared_weighted decimal(38, 12);

alter table pipeline.removed_quality_blocks_hourly add column environment varchar;
alter table pipeline.removed_quality_blocks_hourly add column is_drawn boolean;
alter table pipeline.removed_quality_blocks_hourly add column source varchar;
alter table pipeline.removed_quality_blocks_hourly add column weight decimal(38, 12);
alter table pipeline.removed_quality_blocks_hourly add column weight_squared decimal(38, 12);
alter table pipeline.removed_quality_blocks_hourly add column quality_weighted decimal(38, 12);
alter table pipeline.removed_quality_blocks_hourly add column quality_squared_weighted decimal(38, 12);

alter table latency_buckets_hourly add column environment varchar;
alter table pipeline.removed_latency_buckets_hourly add column environment varchar;

alter table task_model_scores add column outcomes_drawn double;
alter table task_model_scores add column outcomes_user double;
alter table task_model_scores add column outcomes_judge double;
alter table task_model_scores add column outcomes_program double;

alter table score_changes add column is_drawn boolean;
alter table score_changes add column source varchar;

create table pipeline.change_states (
    scored_environment varchar not null,
    environment varchar,
    task_type varchar not null,
    model_selected varchar not null,
    is_drawn boolean,
    source varchar,
    next_hour timestamptz not null,
    state varchar not null,
    changes varchar not null
);

insert into pipeline.stale_hours
select distinct hour
from usage_hourly
where hour not in (select hour from pipeline.stale_hours);
