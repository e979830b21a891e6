-- name: ids_are_unique
-- grain: id
-- unique: id
-- reads: request_analytics
-- Ids that occur more than once between $start and $end. Grouping by the hash first takes two thirds of the
-- CPU of grouping every id.
with repeated_hashes as (
    select id_hash
    from (
        select hash(id) as id_hash
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
    )
    group by id_hash
    having count(*) > 1
)

select
    id,
    count(*) as copies
from request_analytics
where
    timestamp >= $start
    and timestamp < $end
    and hash(id) in (select id_hash from repeated_hashes)
group by id
having count(*) > 1
order by id
limit 20
