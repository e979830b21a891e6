-- name: request_documents
-- grain: _id
-- unique: _id
-- reads: request_documents
-- The documents of a part, in the order of their ids.
select
    _id,
    timestamp,
    user_id,
    routing_decision,
    performance_metrics
from request_documents
where starts_with(_id, $part) and left(_id, 7) = $part
order by _id
