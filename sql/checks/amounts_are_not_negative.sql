-- name: amounts_are_not_negative
-- grain: id
-- unique: id
-- reads: request_analytics
-- Requests between $start and $end with a cost or a token count below zero.
select
    id,
    cost_usd,
    tokens_input,
    tokens_output
from request_analytics
where
    timestamp >= $start
    and timestamp < $end
    and (
        cost_usd < 0
        or baseline_cost_usd < 0
        or tokens_input < 0
        or tokens_output < 0
        or tokens_cached_input < 0
        or tokens_reasoning < 0
    )
order by id
limit 20
