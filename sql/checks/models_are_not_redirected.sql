-- name: models_are_not_redirected
-- grain: provider, model_selected, model_answered
-- unique: provider, model_selected, model_answered
-- reads: request_analytics
-- Requests between $start and $end that the provider redirected to another model than the one it was asked for.
select
    provider,
    model_selected,
    model_answered,
    count(*) as requests,
    count(*) - count(cost_usd) as requests_without_cost
from request_analytics
where
    timestamp >= $start
    and timestamp < $end
    and model_answered is not null
    and contains(reason, 'its provider redirected the request to')
group by
    provider,
    model_selected,
    model_answered
order by
    requests desc,
    provider,
    model_selected,
    model_answered
limit 20
