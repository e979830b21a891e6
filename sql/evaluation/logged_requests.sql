-- name: logged_requests
-- grain: id
-- unique: id
-- reads: request_analytics, feedback
-- Requests of $environment from $since to $until (NULL: no end) with the latest quality verdict of the highest source.
-- `drawn_id` is the request whose draw decided: the request itself, or, in a session that stays with
-- its model, the session's latest drawn one; NULL when that is older than $since, and for requests
-- whose model was named. $kept per mille of the sessions (and of requests without one) are read.
with
    judgements as (
        select
            request_id,
            arg_max(
                value,
                (array_position(['program', 'judge', 'user'], source), created_at, feedback_id)
            ) as value
        from feedback
        where
            metric = 'quality'
            and request_hour >= date_trunc('hour', cast($since as timestamptz))
        group by request_id
    ),

    decided as (
        select
            id,
            timestamp,
            task_type,
            session_id,
            organization_id,
            strategy,
            snapshot_id,
            tokens_input_estimated,
            model_decided,
            coalesce(model_selected <> model_decided, false) as is_fallback,
            propensity,
            candidates,
            cast(cost_usd as double) as cost_usd,
            success,
            latency_ms,
            tokens_input,
            tokens_output,
            len(attempts) - 1 as retries,
            finish_reason in ('length', 'content_filter') as is_cut,
            case
                when strategy in ('thompson', 'greedy') then id
                when strategy = 'sticky'
                then last_value(case when strategy in ('thompson', 'greedy') then id end ignore nulls) over (
                    partition by session_id
                    order by
                        timestamp,
                        id
                    rows between unbounded preceding and current row
                )
            end as drawn_id
        from request_analytics
        where
            timestamp >= $since
            and timestamp < coalesce(cast($until as timestamptz), 'infinity')
            and environment = $environment
            and model_decided is not null
            and md5_number_lower(coalesce(session_id, id)) % 1000 < $kept
    )

select
    decided.id,
    task_type,
    session_id,
    organization_id,
    strategy,
    snapshot_id,
    tokens_input_estimated,
    model_decided,
    is_fallback,
    propensity,
    candidates,
    cost_usd,
    success,
    latency_ms,
    tokens_input,
    tokens_output,
    retries,
    is_cut,
    judgements.value as quality,
    drawn_id
from decided
left join judgements on judgements.request_id = decided.id
order by
    timestamp,
    decided.id
