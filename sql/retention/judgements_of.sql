-- name: judgements_of
-- grain: feedback_id
-- unique: feedback_id
-- reads: feedback
-- The judgements of the requests $ids, without those of $known.
select *
from feedback
where
    request_id in (select unnest($ids))
    and feedback_id not in (select unnest($known))
