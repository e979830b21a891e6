-- name: 0015_model_versions
-- grain: model and version
-- unique: model, since
-- reads:
-- Which version of each model serves, and since when.

create table model_versions (
    model varchar not null,
    version varchar not null,
    since timestamptz
);
