-- name: 0006_removals
-- grain: one row per removal; the others as usage_hourly and latency_buckets_hourly, per removal
-- unique: name of removals
-- reads:
-- What rows that were taken out of the lake (an erasure, an organisation's shorter period) add to
-- their hours' rollups. An hour is the fold of the rows that are left plus this; no user id.

create table pipeline.removals (
    name varchar not null,
    hour timestamptz not null,
    operation varchar not null,
    rows_removed bigint not null,
    removed_at timestamptz not null
);

create table pipeline.removed_usage_hourly as
from usage_hourly
limit 0;

create table pipeline.removed_latency_buckets_hourly as
from latency_buckets_hourly
limit 0;

create table pipeline.tombstones_honoured (
    name varchar not null,
    until timestamptz not null
);
