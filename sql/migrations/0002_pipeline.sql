-- name: 0002_pipeline
-- grain: one row per segment, suspect file, folder, stale hour, stale day, publication
-- unique: name of load_ledger; path of quarantine; folder of settled_folders; hour of stale_hours
-- reads:
-- What the pipelines remember between runs.

create table pipeline.load_ledger (
    dataset varchar not null,
    name varchar not null,
    path varchar not null,
    schema_version bigint not null,
    sha256 varchar not null,
    rows_in_file bigint not null,
    rows_loaded bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    loaded_at timestamptz not null,
    expired_at timestamptz,
    replaced_by varchar
);

create table pipeline.quarantine (
    path varchar not null,
    dataset varchar not null,
    reason varchar not null,
    fingerprint varchar not null,
    seen_at timestamptz not null
);

create table pipeline.settled_folders (
    folder varchar not null,
    changed_ns bigint not null
);

create table pipeline.stale_hours (
    hour timestamptz not null
);

create table pipeline.stale_days (
    mart varchar not null,
    day date not null
);

create table pipeline.retention (
    expired_before timestamptz not null
);

create table pipeline.published (
    snapshot_id varchar not null,
    as_of timestamptz not null,
    published_at timestamptz not null
);
