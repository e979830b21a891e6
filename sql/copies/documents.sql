-- name: request_documents
-- grain: _id
-- unique: _id
-- reads: request_documents
-- The documents of a part, in the order of their ids. The range lets DuckDB leave out blocks of other ids.
select
    _id,
    timestamp,
    user_id,
    routing_decision,
    performance_metrics
from request_documents
where
    _id >= $part
    and _id < $part || chr(1114111)
    and left(_id, 7) = $part
order by _id
