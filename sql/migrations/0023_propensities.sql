-- name: 0023_propensities
-- grain: hour and the keys before the first count
-- unique: hour and the keys before the first count
-- reads:
-- Sums over the decisions that chance made, weighted by the inverse of their chance. They outlive the raw
-- rows and say what another model would have cost and scored. Whole numbers, which merge and subtract
-- exactly: millionths, billionths of a dollar, and their squares. No user id.

create table propensity_hourly (
    hour timestamptz not null,
    environment varchar not null,
    organization_id varchar,
    task_type varchar not null,
    model_decided varchar not null,
    size_class integer,
    decisions bigint not null,
    weight_micro bigint not null,
    weight_squared_micro bigint not null,
    decisions_with_cost bigint not null,
    cost_nano bigint,
    cost_squared_nano2 decimal(38, 0),
    weight_micro_with_cost bigint,
    weight_squared_micro_with_cost bigint,
    cost_weighted_nano bigint,
    cost_weighted_squared_nano2 decimal(38, 0),
    cost_weight_squared_nano bigint,
    decisions_with_quality bigint not null,
    quality_micro bigint,
    quality_squared_micro bigint,
    weight_micro_with_quality bigint,
    weight_squared_micro_with_quality bigint,
    quality_weighted_micro bigint,
    quality_weighted_squared_micro bigint,
    quality_weight_squared_micro bigint
);

create table pipeline.removed_propensity_hourly as
from propensity_hourly
limit 0;

insert into pipeline.stale_hours
select distinct hour
from usage_hourly
where hour not in (select hour from pipeline.stale_hours);
