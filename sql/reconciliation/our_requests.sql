-- name: our_requests
-- grain: day, model, service_tier, request (of $by_id)
-- unique: day, model, service_tier, request_id
-- reads: request_analytics
-- Tokens and dollars by kind of the requests of $providers from $since to before $until.
-- Days are those of $zone. The lists `price_id`, `tier`, … hold the rates in dollars per million tokens, and
-- `selected`, `answered` and `named` the bill's name of each model. Output includes reasoning. What the price
-- of tokens does not cover is `usd_tools`, or belongs to a cache that is kept for an hour.
with
    rates as (
        select
            unnest(cast($price_ids as varchar[])) as price_id,
            unnest(cast($tiers as varchar[])) as tier,
            unnest(cast($above as bigint[])) as above,
            unnest(cast($upto as bigint[])) as upto,
            unnest(cast($start_s as bigint[])) as start_s,
            unnest(cast($end_s as bigint[])) as end_s,
            unnest(cast($rate_input as decimal(24, 12)[])) as rate_input,
            unnest(cast($rate_cached_input as decimal(24, 12)[])) as rate_cached_input,
            unnest(cast($rate_cache_write as decimal(24, 12)[])) as rate_cache_write,
            unnest(cast($rate_output as decimal(24, 12)[])) as rate_output,
            unnest(cast($rate_reasoning as decimal(24, 12)[])) as rate_reasoning,
            unnest(cast($has_1h as boolean[])) as has_1h
    ),

    names as (
        select
            unnest(cast($selected as varchar[])) as selected,
            unnest(cast($answered as varchar[])) as answered,
            unnest(cast($named as varchar[])) as named
    ),

    requests as (
        select
            case when $by_id then provider_request_id end as request_id,
            cast(timestamp at time zone $zone as date) as day,
            extract(epoch from timestamp) % 86400 as second,
            coalesce(names.named, model_answered, model_selected) as model,
            case
                when lower(coalesce(service_tier, '')) in ('', 'default', 'auto', 'on_demand', 'on-demand')
                then 'standard'
                else lower(service_tier)
            end as service_tier,
            price_id,
            tokens_input,
            tokens_output,
            coalesce(tokens_cached_input, 0) as tokens_cached_input,
            coalesce(tokens_cache_write, 0) as tokens_cache_write,
            coalesce(tokens_reasoning, 0) as tokens_reasoning,
            cost_usd,
            is_streaming
        from request_analytics
        left join names
            on names.selected = model_selected
            and names.answered is not distinct from model_answered
        where
            provider in (select unnest(cast($providers as varchar[])))
            and timestamp >= $since
            and timestamp < $until
            and (success or is_streaming or cost_usd is not null)
    ),

    priced as (
        select
            requests.*,
            tokens_input - tokens_cached_input - tokens_cache_write as tokens_fresh,
            rates.rate_input,
            rates.rate_cached_input,
            rates.rate_cache_write,
            rates.rate_output,
            has_1h,
            cast(
                rates.rate_input * (tokens_input - tokens_cached_input - tokens_cache_write) * 0.000001
                as decimal(38, 12)
            ) as usd_input,
            cast(rates.rate_cached_input * tokens_cached_input * 0.000001 as decimal(38, 12))
                as usd_cached_input,
            cast(rates.rate_cache_write * tokens_cache_write * 0.000001 as decimal(38, 12)) as usd_cache_write,
            cast(
                (
                    rates.rate_output * (tokens_output - tokens_reasoning)
                    + rates.rate_reasoning * tokens_reasoning
                ) * 0.000001 as decimal(38, 12)
            ) as usd_output
        from requests
        left join rates
            on rates.price_id = requests.price_id
            and cost_usd is not null
            and rates.tier = requests.service_tier
            and coalesce(tokens_input, 0) > rates.above
            and coalesce(tokens_input, 0) <= rates.upto
            and second >= rates.start_s
            and second < rates.end_s
    ),

    split as (
        select
            *,
            cost_usd - usd_input - usd_cached_input - usd_cache_write - usd_output as rest,
            coalesce(has_1h, false) and tokens_cache_write > 0 as is_1h
        from priced
    )

select
    request_id,
    day,
    model,
    service_tier,
    count(*) as requests,
    count(cost_usd) as requests_with_cost,
    count(*) filter (where tokens_input is null) as requests_without_usage,
    coalesce(sum(tokens_fresh), 0) as tokens_input,
    coalesce(sum(tokens_cached_input) filter (where tokens_input is not null), 0) as tokens_cached_input,
    coalesce(sum(tokens_cache_write) filter (where tokens_input is not null), 0) as tokens_cache_write,
    coalesce(sum(tokens_output), 0) as tokens_output,
    sum(usd_input) as usd_input,
    sum(usd_cached_input) as usd_cached_input,
    sum(usd_cache_write + case when is_1h then rest else 0 end) as usd_cache_write,
    -- Rounding of the single amounts is no charge of its own.
    sum(usd_output + case when not is_1h and abs(rest) < 0.00000000001 then rest else 0 end) as usd_output,
    sum(rest) filter (where not is_1h and abs(rest) >= 0.00000000001) as usd_tools,
    sum(cost_usd) as usd_total,
    sum(cost_usd) filter (where usd_output is null) as usd_unsplit,
    min(rate_input) as low_input,
    max(rate_input) as high_input,
    min(rate_cached_input) as low_cached_input,
    max(rate_cached_input) as high_cached_input,
    min(rate_cache_write) as low_cache_write,
    max(rate_cache_write) as high_cache_write,
    min(rate_output) as low_output,
    max(rate_output) as high_output
from split
group by
    request_id,
    day,
    model,
    service_tier
order by
    day,
    model,
    service_tier,
    request_id
