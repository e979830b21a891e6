-- name: cache_share
-- grain: model_selected, provider
-- unique: model_selected, provider
-- reads: request_analytics
-- How much of each model's input was read from the provider's cache, from the raw rows that are kept; by default 30
-- days. Only requests whose cached tokens are known count.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/cache_share.sql
select
    model_selected,
    provider,
    count(*) as requests,
    count(tokens_cached_input) filter (where tokens_input is not null) as requests_with_cache,
    sum(tokens_input) filter (where tokens_cached_input is not null) as tokens_input,
    sum(tokens_cached_input) filter (where tokens_input is not null) as tokens_cached_input,
    sum(tokens_cached_input) filter (where tokens_input is not null)
    / nullif(sum(tokens_input) filter (where tokens_cached_input is not null), 0) as cached_share
from request_analytics
where
    timestamp >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and timestamp < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by
    model_selected,
    provider
order by
    sum(tokens_input) desc nulls last,
    model_selected,
    provider;
