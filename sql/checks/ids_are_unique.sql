-- name: ids_are_unique
-- grain: id
-- unique: id
-- reads: request_analytics
-- Ids that stand more than once between $start and $end.
select
    id,
    count(*) as copies
from request_analytics
where
    timestamp >= $start
    and timestamp < $end
group by id
having count(*) > 1
order by id
limit 20
