-- name: moving_prices
-- grain: model_selected, provider
-- unique: model_selected, provider
-- reads: request_analytics
-- The spend of each model, and the same tokens at the rates of the price book: lists of models, periods, sizes of the
-- input and rates. Only requests with a known spend and known tokens count, so that both sums are of the same ones.
with
    rates as (
        select
            unnest($models) as model_selected,
            unnest($providers) as provider,
            unnest($starts) as starts_at,
            unnest($ends) as ends_at,
            unnest($aboves) as above,
            unnest($uptos) as upto,
            unnest($inputs) as input_rate,
            unnest($cacheds) as cached_rate,
            unnest($writes) as write_rate,
            unnest($outputs) as output_rate,
            unnest($reasonings) as reasoning_rate,
            unnest($per_requests) as request_rate
    ),

    priced as (
        select
            request_analytics.model_selected,
            request_analytics.provider,
            cost_usd,
            (
                (tokens_input - coalesce(tokens_cached_input, 0) - coalesce(tokens_cache_write, 0)) * input_rate
                + coalesce(tokens_cached_input, 0) * cached_rate
                + coalesce(tokens_cache_write, 0) * write_rate
                + (tokens_output - coalesce(tokens_reasoning, 0)) * output_rate
                + coalesce(tokens_reasoning, 0) * reasoning_rate
            ) / 1000000
            + request_rate as book_usd
        from request_analytics
        left join rates
            on rates.model_selected = request_analytics.model_selected
            and rates.provider is not distinct from request_analytics.provider
            and request_analytics.timestamp >= rates.starts_at
            and request_analytics.timestamp < rates.ends_at
            and request_analytics.tokens_input > rates.above
            and request_analytics.tokens_input <= rates.upto
        where
            request_analytics.timestamp >= $since
            and request_analytics.timestamp < $until
            and ($organization is null or organization_id = $organization)
    )

select
    model_selected,
    provider,
    count(*) as requests,
    count(cost_usd) as requests_with_cost,
    count(book_usd) as requests_with_book,
    sum(cost_usd) as cost_usd,
    sum(cost_usd) filter (where book_usd is not null) as compared_usd,
    sum(book_usd) filter (where cost_usd is not null) as book_usd
from priced
group by
    model_selected,
    provider
order by
    sum(cost_usd) desc nulls last,
    model_selected,
    provider;
