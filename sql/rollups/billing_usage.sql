-- name: billing_usage
-- grain: quarter, organization_id, model, provider, price_id, service_tier
-- unique: quarter, organization_id, model, provider, price_id, service_tier
-- reads: request_analytics, pipeline.removed_billing_usage
-- The usage that bills count, of the hours from $start to $end, removed rows included. Every zone's midnight
-- is the start of a quarter of an hour. `model` is the one that answered, by the name in its answer.
insert into billing_usage (
    hour,
    quarter,
    organization_id,
    model,
    provider,
    price_id,
    service_tier,
    requests,
    successes,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_cached_input,
    tokens_cache_write,
    tokens_output,
    tokens_reasoning
)
with
    parts as (
        select
            time_bucket(interval '1 hour', timestamp) as hour,
            time_bucket(interval '15 minutes', timestamp) as quarter,
            organization_id,
            coalesce(model_answered, model_selected) as model,
            provider,
            price_id,
            service_tier,
            1 as requests,
            cast(success as bigint) as successes,
            cast(cost_usd is not null as bigint) as requests_with_cost,
            cost_usd,
            cast(tokens_input is not null and tokens_output is not null as bigint) as requests_with_tokens,
            tokens_input,
            tokens_cached_input,
            tokens_cache_write,
            tokens_output,
            tokens_reasoning
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        union all
        select
            hour,
            quarter,
            organization_id,
            model,
            provider,
            price_id,
            service_tier,
            requests,
            successes,
            requests_with_cost,
            cost_usd,
            requests_with_tokens,
            tokens_input,
            tokens_cached_input,
            tokens_cache_write,
            tokens_output,
            tokens_reasoning
        from pipeline.removed_billing_usage
        where
            hour >= $start
            and hour < $end
    )

select
    hour,
    quarter,
    organization_id,
    model,
    provider,
    price_id,
    service_tier,
    sum(requests) as requests,
    sum(successes) as successes,
    sum(requests_with_cost) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(requests_with_tokens) as requests_with_tokens,
    sum(tokens_input) as tokens_input,
    sum(tokens_cached_input) as tokens_cached_input,
    sum(tokens_cache_write) as tokens_cache_write,
    sum(tokens_output) as tokens_output,
    sum(tokens_reasoning) as tokens_reasoning
from parts
group by
    hour,
    quarter,
    organization_id,
    model,
    provider,
    price_id,
    service_tier
