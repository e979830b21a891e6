-- name: 0013_compliance_logs
-- grain: one row per change that a person made
-- unique: id
-- reads:
-- Who changed which key, when, and how it stood before and after; no secret is among it.

create table compliance_logs (
    id varchar not null,
    timestamp timestamptz not null,
    actor varchar not null,
    action varchar not null,
    subject varchar not null,
    before json,
    after json not null
);
