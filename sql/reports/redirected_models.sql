-- name: redirected_models
-- grain: day, provider, model_selected, model_answered
-- unique: day, provider, model_selected, model_answered
-- reads: request_analytics
-- Requests that a provider answered with another model than the one it was asked for; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization, timezone (of the days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/redirected_models.sql
select
    cast(timezone(coalesce(getvariable('timezone'), 'UTC'), timestamp) as date) as day,
    provider,
    model_selected,
    model_answered,
    count(*) as requests,
    count(*) - count(cost_usd) as requests_without_cost,
    sum(cost_usd) as cost_usd
from request_analytics
where
    timestamp >= time_bucket(
        interval '15 minutes',
        coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)
    )
    and timestamp < coalesce(
        time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)),
        now()
    )
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
    and model_answered is not null
    and contains(reason, 'its provider redirected the request to')
group by
    cast(timezone(coalesce(getvariable('timezone'), 'UTC'), timestamp) as date),
    provider,
    model_selected,
    model_answered
order by
    day,
    requests desc,
    provider,
    model_selected,
    model_answered;
