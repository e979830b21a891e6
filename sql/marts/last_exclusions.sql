-- name: last_exclusions
-- grain: model
-- unique: model
-- reads: request_analytics
-- Why each model could not be chosen by the last decision that saw it since $since; NULL if it could.
with
    seen as (
        select
            timestamp,
            id,
            unnest(candidates) as candidate
        from request_analytics
        where timestamp >= $since
    )

select
    candidate.model as model,
    last(candidate.exclusion order by timestamp, id) as exclusion
from seen
group by candidate.model
