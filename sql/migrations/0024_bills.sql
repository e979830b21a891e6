-- name: 0024_bills
-- grain: quarter of an hour and the keys of a bill's line; a line of a month; a change of a line
-- unique: the keys before the first count of each table
-- reads: usage_hourly, pipeline.removed_usage_quarter_hourly, pipeline.stale_hours
-- Bills: the usage that they count, their lines, and what changed after a month was closed. Hours are folded
-- again. Of those whose raw rows have expired, the hourly rollup gives the lines: without prices.

create table billing_usage (
    hour timestamptz not null,
    quarter timestamptz not null,
    organization_id varchar,
    model varchar,
    provider varchar,
    price_id varchar,
    service_tier varchar,
    requests bigint not null,
    successes bigint not null,
    requests_with_cost bigint not null,
    cost_usd decimal(38, 12),
    requests_with_tokens bigint not null,
    tokens_input bigint,
    tokens_cached_input bigint,
    tokens_cache_write bigint,
    tokens_output bigint,
    tokens_reasoning bigint
);

create table pipeline.removed_billing_usage as from billing_usage limit 0;

create table billing_records (
    month varchar not null,
    status varchar not null,
    organization_id varchar,
    model varchar,
    provider varchar,
    price_id varchar,
    service_tier varchar,
    requests bigint not null,
    failures bigint not null,
    requests_with_cost bigint not null,
    requests_unknown_cost bigint not null,
    requests_with_tokens bigint not null,
    tokens_input bigint,
    tokens_cached_input bigint,
    tokens_cache_write bigint,
    tokens_output bigint,
    tokens_reasoning bigint,
    requests_with_list_cost bigint not null,
    list_cost_usd decimal(38, 12),
    contracted_cost_usd decimal(38, 12),
    billed_cost_usd decimal(38, 12),
    restated_usd decimal(38, 12) not null,
    currency varchar not null,
    time_zone varchar not null,
    since timestamptz not null,
    until timestamptz not null,
    closed_at timestamptz
);

create table billing_restatements (
    id varchar not null,
    month varchar not null,
    organization_id varchar,
    model varchar,
    provider varchar,
    price_id varchar,
    service_tier varchar,
    old_requests bigint,
    new_requests bigint,
    old_usd decimal(38, 12),
    new_usd decimal(38, 12),
    difference_usd decimal(38, 12) not null,
    reason varchar not null,
    source varchar not null,
    restated_at timestamptz not null
);

insert into billing_usage by name
select
    hour,
    hour as quarter,
    organization_id,
    model_selected as model,
    provider,
    requests,
    successes,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_cached_input,
    tokens_output,
    tokens_reasoning
from usage_hourly;

insert into pipeline.removed_billing_usage by name
select
    time_bucket(interval '1 hour', quarter_hour) as hour,
    quarter_hour as quarter,
    organization_id,
    model_selected as model,
    provider,
    requests,
    successes,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_cached_input,
    tokens_output,
    tokens_reasoning
from pipeline.removed_usage_quarter_hourly;

insert into pipeline.stale_hours
select distinct hour
from usage_hourly
where hour not in (select hour from pipeline.stale_hours);
