-- name: spend_counts
-- grain: one row
-- unique: rows
-- reads:
-- The numbers of an import: rows, requests, ids, new ones, refused rows, new ones without a cost, and those with
-- tokens and a spend of 0.
select
    count(*) as rows,
    count(*) filter (where cause is null) as requests,
    count(distinct provider_request_id) filter (where cause is null) as ids,
    count(spend_new.row) as added,
    count(cause) as refused,
    count(*) filter (where spend_new.row is not null and cost_usd is null) as without_cost,
    count(*) filter (where spend_new.row is not null and is_zero_with_tokens) as zeros
from spend_rows
left join spend_new on spend_new.row = spend_rows.row;
