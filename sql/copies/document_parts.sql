-- name: request_documents
-- grain: part
-- unique: part
-- reads: request_documents
-- The parts of the documents: ids with the same first 7 characters, with a digest of their content.
select
    left(_id, 7) as part,
    count(*) as rows,
    cast(sum(hash(_id, timestamp, user_id, routing_decision, performance_metrics)) as varchar) as digest
from request_documents
group by part
order by part
