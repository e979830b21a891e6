-- name: orphaned_feedback
-- grain: request_id
-- unique: request_id
-- reads: feedback, request_analytics, pipeline.removals
-- Requests that retention removed from a day that stays, and of which judgements are left or came late.
with
    hours as (
        select hour
        from pipeline.removals
        where operation = 'retention'
    ),

    standing as (
        select id
        from request_analytics
        where
            timestamp >= (select min(hour) from hours)
            and timestamp < (select max(hour) from hours) + interval 1 hour
    )

select distinct feedback.request_id
from feedback
join hours on hours.hour = feedback.request_hour
anti join standing on standing.id = feedback.request_id
order by feedback.request_id
