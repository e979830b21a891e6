-- name: tensorzero_feedback
-- grain: feedback_id
-- unique: feedback_id
-- reads:
-- The judgements to add, in the order of their moments: the first of each id, and none that the lake holds.
select
    feedback_id,
    request_id,
    metric,
    value,
    judged_by as source,
    created_at
from tensorzero_judgements
where cause is null
    and feedback_id not in (select feedback_id from known_feedback)
qualify row_number() over (partition by feedback_id order by tensorzero_judgements.source, row) = 1
order by
    created_at,
    feedback_id;
