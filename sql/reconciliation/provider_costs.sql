-- name: provider_costs
-- grain: provider, model
-- unique: provider, model
-- reads: request_analytics
-- Our cost and the provider's own figure of the requests from $since to $until that have both, by model.
select
    provider,
    model_selected as model,
    count(*) as requests,
    count(*) filter (where cost_usd is not null and provider_cost_usd is not null) as requests_with_both,
    sum(cost_usd) filter (where provider_cost_usd is not null) as cost_usd,
    sum(provider_cost_usd) filter (where cost_usd is not null) as provider_cost_usd,
    sum(provider_cost_usd - cost_usd) as difference_usd
from request_analytics
where
    timestamp >= $since
    and timestamp < $until
    and model_selected is not null
group by
    provider,
    model_selected
having
    count(provider_cost_usd) > 0
order by
    abs(sum(provider_cost_usd - cost_usd)) desc nulls last,
    provider,
    model
