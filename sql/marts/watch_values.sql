-- name: watch_values
-- grain: hour, environment, scope, subject
-- unique: hour, environment, scope, subject
-- reads: pipeline.watched_hours
-- The watched hours from $start to $end of the subjects with the most requests since $since, at most
-- $most of each scope, in order.
with
    ranked as (
        select
            environment,
            scope,
            subject,
            row_number() over (
                partition by environment, scope
                order by
                    sum(requests) desc,
                    subject
            ) as place
        from pipeline.watched_hours
        where hour >= $since
        group by
            environment,
            scope,
            subject
    )

select
    pipeline.watched_hours.hour,
    pipeline.watched_hours.environment,
    pipeline.watched_hours.scope,
    pipeline.watched_hours.subject,
    requests,
    errors,
    refusals,
    requests_with_finish,
    requests_cut,
    requests_redirected,
    requests_with_price,
    requests_dear,
    requests_with_cost,
    cast(cost_usd as double) as cost_usd,
    requests_with_tokens,
    tokens_output,
    latency_ms_p95,
    latency_ms_geomean
from pipeline.watched_hours
join ranked
    on ranked.environment = pipeline.watched_hours.environment
    and ranked.scope = pipeline.watched_hours.scope
    and ranked.subject is not distinct from pipeline.watched_hours.subject
where
    hour >= $start
    and hour < $end
    and place <= $most
order by
    hour,
    pipeline.watched_hours.environment,
    pipeline.watched_hours.scope,
    pipeline.watched_hours.subject
