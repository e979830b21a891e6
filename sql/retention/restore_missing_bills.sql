-- name: billing_usage
-- grain: hour, organization_id, model, provider
-- unique: hour, organization_id, model, provider
-- reads: usage_hourly, billing_usage
-- The usage of hours that were archived before bills were counted: without prices.
insert into billing_usage by name
select
    hour,
    hour as quarter,
    organization_id,
    model_selected as model,
    provider,
    sum(requests) as requests,
    sum(successes) as successes,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(requests_with_tokens) as requests_with_tokens,
    sum(tokens_input) as tokens_input,
    sum(tokens_cached_input) as tokens_cached_input,
    sum(tokens_output) as tokens_output,
    sum(tokens_reasoning) as tokens_reasoning
from usage_hourly
where hour not in (select hour from billing_usage)
group by
    hour,
    organization_id,
    model_selected,
    provider
