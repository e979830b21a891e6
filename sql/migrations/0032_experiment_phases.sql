-- name: 0032_experiment_phases
-- grain: experiment, phase and variant; configuration and experiment; experiment and start
-- unique: experiment_id, phase, variant; config_hash, experiment_id; experiment_id, starts_at
-- reads:
-- Hours of experiments are kept apart by configuration, so that results are joined over phases of the same
-- shares and variants. The second table says which design a configuration held. The third says which one
-- was in force when, for records of configurations that are not known. Hours are folded again.

alter table experiment_hourly add column config_hash varchar;
alter table pipeline.removed_experiment_hourly add column config_hash varchar;

alter table experiment_results add column phases bigint;
alter table experiment_results add column units_in_several_variants bigint;

create table experiment_phases (
    experiment_id varchar not null,
    phase bigint not null,
    variant varchar not null,
    share double,
    policy varchar,
    model varchar,
    is_current boolean not null,
    first_hour timestamptz not null,
    last_hour timestamptz not null,
    requests bigint not null
);

create table pipeline.experiment_designs (
    config_hash varchar not null,
    experiment_id varchar not null,
    design varchar not null
);

create table pipeline.design_periods (
    experiment_id varchar not null,
    starts_at timestamptz not null,
    design varchar not null,
    last_hour timestamptz
);

insert into pipeline.stale_hours
select distinct hour
from experiment_hourly
where hour not in (select hour from pipeline.stale_hours);
