-- name: provider_costs_match
-- grain: provider, model
-- unique: provider, model
-- reads: request_analytics
-- Models whose cost by our prices is over 1% off the cost that their provider reports, between $start and $end.
select
    provider,
    model_selected as model,
    count(*) as requests,
    sum(cost_usd) as cost_usd,
    sum(provider_cost_usd) as provider_cost_usd
from request_analytics
where
    timestamp >= $start
    and timestamp < $end
    and cost_usd is not null
    and provider_cost_usd is not null
group by
    provider,
    model_selected
having
    abs(sum(cost_usd) - sum(provider_cost_usd)) > greatest(0.01 * abs(sum(provider_cost_usd)), 0.000001)
order by
    abs(sum(cost_usd) - sum(provider_cost_usd)) desc,
    provider,
    model
limit 20
