-- name: priced_requests
-- grain: request
-- unique: id
-- reads: request_analytics
-- Cost and tokens of the requests of $model from $since to before $until, in the order of `Usage`.
-- `model` is named as bills name it.
select
    timestamp,
    organization_id,
    coalesce(model_answered, model_selected) as model,
    provider,
    price_id,
    service_tier,
    cost_usd,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_cache_write,
    null as tokens_cache_write_1h,
    tokens_reasoning
from request_analytics
where
    model_selected = $model
    and timestamp >= $since
    and timestamp < $until
    and tokens_input is not null
order by
    timestamp,
    id
