-- name: billing_usage_of_months
-- grain: bill, model, provider, price_id, service_tier, list_period
-- unique: bill, model, provider, price_id, service_tier, list_period
-- reads: billing_usage
-- The usage on each bill: $organizations, $since and $until are the bills' organisations and bounds.
-- `list_period` counts the public prices' changes, $changes, up to the quarter of an hour.
with
    bills as (
        select
            unnest(range(len(cast($organizations as varchar[])))) as bill,
            unnest(cast($organizations as varchar[])) as organization_id,
            unnest(cast($since as timestamptz[])) as since,
            unnest(cast($until as timestamptz[])) as until
    ),

    usage as (
        select
            bills.bill,
            billing_usage.*,
            len(list_filter(cast($changes as timestamptz[]), lambda moment: moment <= billing_usage.quarter)) as list_period
        from billing_usage
        inner join bills
            on bills.organization_id is not distinct from billing_usage.organization_id
            and billing_usage.quarter >= bills.since
            and billing_usage.quarter < bills.until
    )

select
    bill,
    model,
    provider,
    price_id,
    service_tier,
    list_period,
    cast(sum(requests) as bigint) as requests,
    cast(sum(requests - successes) as bigint) as failures,
    cast(sum(requests_with_cost) as bigint) as requests_with_cost,
    cast(sum(requests_with_tokens) as bigint) as requests_with_tokens,
    cast(sum(tokens_input) as bigint) as tokens_input,
    cast(sum(tokens_cached_input) as bigint) as tokens_cached_input,
    cast(sum(tokens_cache_write) as bigint) as tokens_cache_write,
    cast(sum(tokens_output) as bigint) as tokens_output,
    cast(sum(tokens_reasoning) as bigint) as tokens_reasoning,
    sum(cost_usd) as contracted_cost_usd
from usage
group by
    bill,
    model,
    provider,
    price_id,
    service_tier,
    list_period
