-- name: failures
-- grain: model_selected, provider, error_type, status_code
-- unique: model_selected, provider, error_type, status_code
-- reads: request_analytics
-- Requests that failed, and what they cost nevertheless, from the raw rows that are kept; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/failures.sql
select
    model_selected,
    provider,
    error_type,
    status_code,
    count(*) as failures,
    count(cost_usd) as requests_with_cost,
    sum(cost_usd) as cost_usd,
    max(timestamp) as last_failure_at
from request_analytics
where
    not success
    and timestamp >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
    and timestamp < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
group by
    model_selected,
    provider,
    error_type,
    status_code
order by
    failures desc,
    model_selected,
    provider,
    error_type,
    status_code;
