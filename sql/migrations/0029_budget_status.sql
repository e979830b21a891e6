-- name: 0029_budget_status
-- grain: budget, period and the subject
-- unique: budget_id, period_start, organization_id, api_key_id, user_id, session_id
-- reads:
-- Each budget of limits.yaml, for each subject that it binds, in the running period.

create table budget_status (
    budget_id varchar not null,
    scope varchar not null,
    organization_id varchar,
    api_key_id varchar,
    user_id varchar,
    session_id varchar,
    period varchar not null,
    mode varchar not null,
    period_start timestamptz,
    period_end timestamptz,
    as_of timestamptz not null,
    limit_usd decimal(38, 12) not null,
    requests bigint not null,
    requests_without_cost bigint not null,
    spent_usd decimal(38, 12),
    remaining_usd decimal(38, 12),
    spent_share double,
    projected_usd decimal(38, 12),
    projected_share double,
    projection varchar,
    alert_at double[] not null,
    alert_reached double
);
