-- name: cost_per_user
-- grain: organization_id, user_id
-- unique: organization_id, user_id
-- reads: request_analytics
-- What each user used and paid, dearest first, from the raw rows that are kept; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/cost_per_user.sql
select
    organization_id,
    user_id,
    count(*) as requests,
    count(cost_usd) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    sum(tokens_input) as tokens_input,
    sum(tokens_output) as tokens_output,
    max(timestamp) as last_request_at
from request_analytics
where
    timestamp >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and timestamp < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by
    organization_id,
    user_id
order by
    sum(cost_usd) desc nulls last,
    organization_id,
    user_id;
