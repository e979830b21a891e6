-- name: 0007_retention_cutoffs
-- grain: one row per dataset and cutoff
-- unique: dataset, expired_before
-- reads:
-- How far retention has come with each dataset; pipeline.retention is the requests' alone.

create table pipeline.retention_cutoffs (
    dataset varchar not null,
    expired_before timestamptz not null
);
