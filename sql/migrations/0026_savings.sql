-- name: 0026_savings
-- grain: scope and its organisation or task
-- unique: scope, organization_id, task_type
-- reads:
-- The saving against the baseline model over the last days, in whole, by organisation and by task.

create table savings (
    baseline varchar not null,
    environment varchar not null,
    scope varchar not null,
    organization_id varchar,
    task_type varchar,
    since timestamptz not null,
    as_of timestamptz not null,
    requests bigint not null,
    supported_share double not null,
    effective double not null,
    cost_usd double,
    saved_usd double,
    saved_usd_low double,
    saved_usd_high double,
    quality_difference double,
    quality_difference_low double,
    quality_difference_high double,
    reason varchar
);
