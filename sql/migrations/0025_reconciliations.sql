-- name: 0025_reconciliations
-- grain: one row of each table for a bill, and for a part of it
-- unique: id
-- reads:
-- Bills of providers that were compared with the recorded requests, and the parts of each by cause.

create table reconciliations (
    id varchar not null,
    file_name varchar not null,
    provider varchar not null,
    catalog_providers varchar not null,
    first_day date not null,
    last_day date not null,
    timezone varchar not null,
    matched_by varchar not null,
    ours_usd decimal(38, 12) not null,
    theirs_usd decimal(38, 12) not null,
    difference_usd decimal(38, 12) not null,
    differing_usd decimal(38, 12) not null,
    unexplained_usd decimal(38, 12) not null,
    explained_share double,
    reconciled_at timestamptz not null
);

create table reconciliation_differences (
    reconciliation_id varchar not null,
    day date not null,
    model varchar,
    service_tier varchar,
    kind varchar not null,
    cause varchar,
    ours_tokens bigint,
    theirs_tokens bigint,
    ours_usd decimal(38, 12),
    theirs_usd decimal(38, 12),
    difference_usd decimal(38, 12)
);
