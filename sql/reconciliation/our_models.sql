-- name: our_models
-- grain: provider, model_selected, model_answered, price_id
-- unique: provider, model_selected, model_answered, price_id
-- reads: request_analytics
-- The models, providers and prices that the requests from $since to before $until name.
select
    provider,
    model_selected,
    model_answered,
    price_id,
    count(*) as requests
from request_analytics
where
    timestamp >= $since
    and timestamp < $until
    and model_selected is not null
group by
    provider,
    model_selected,
    model_answered,
    price_id
