-- name: 0010_classifier_trainings
-- grain: one row per training of the task classifier
-- unique: trained_at
-- reads:
-- How good each trained task classifier was on prompts it had not seen, and whether it was published.

create table pipeline.classifier_trainings (
    trained_at timestamptz not null,
    as_of timestamptz not null,
    samples_available bigint not null,
    classifier_id varchar,
    samples bigint,
    samples_held_out bigint,
    accuracy double,
    accuracy_low double,
    accuracy_baseline double,
    calibration_error double,
    is_published boolean not null,
    note varchar not null
);
