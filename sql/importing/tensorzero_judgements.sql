-- name: tensorzero_judgements
-- grain: source, row
-- unique: source, row
-- reads:
-- Each judgement of TensorZero, and the first cause why it is none of a request; NULL if it is one. A judgement of an
-- episode counts for its request if it has one. `$quality` is the metric that scores models here.
create table tensorzero_judgements as
with
    requests as (
        select id from tensorzero_new
        union
        select id from known
    ),

    episodes as (
        select
            session_id as id,
            count(distinct id) as requests,
            any_value(id) as request_id
        from tensorzero_rows
        where cause is null
        group by session_id
    ),

    typed as (
        select
            judgements.source,
            judgements.row,
            lower(judgements.id) as id,
            lower(judgements.target_id) as target_id,
            judgements.metric_name,
            judgements.value as text,
            coalesce(
                try_cast(judgements.value as double),
                case lower(judgements.value) when 'true' then 1.0 when 'false' then 0.0 end
            ) as value,
            coalesce(requests.id, if(episodes.requests = 1, episodes.request_id, null)) as request_id,
            episodes.requests,
            coalesce(judgements.tags, '') like '%tensorzero::human_feedback%' as is_from_person,
            length(judgements.id) = 36
            and substr(judgements.id, 15, 1) = '7'
            and try_cast(judgements.id as uuid) is not null as is_dated
        from judgements
        left join requests on requests.id = lower(judgements.target_id)
        left join episodes on episodes.id = lower(judgements.target_id)
    ),

    dated as (
        select
            *,
            if(is_dated, make_timestamptz(try_cast('0x' || left(id, 8) || substr(id, 10, 4) as bigint) * 1000), null) as created_at
        from typed
    )

select
    source,
    row,
    case
        when not coalesce(is_dated, false) then '`id` is `' || left(coalesce(id, ''), 40) || '`, no UUIDv7, which holds the moment'
        when created_at > $latest then '`id` is `' || left(id, 40) || '`, in the future'
        when created_at < $earliest then '`id` is `' || left(id, 40) || '`, before any model was served'
        when nullif(metric_name, '') is null then 'it has no `metric_name`'
        when value is null then '`value` is `' || left(coalesce(text, ''), 40) || '`, no number'
        when not (value between 0 and 1) then '`value` is `' || left(text, 40) || '`, not from 0 to 1'
        when request_id is null and requests > 1
            then 'it judges an episode of ' || requests || ' requests, and a judgement here is of one'
        when request_id is null then '`target_id` is `' || left(coalesce(target_id, ''), 40) || '`, no request of the dump'
    end as cause,
    id as feedback_id,
    request_id,
    if(metric_name = $quality, 'quality', metric_name) as metric,
    value,
    case
        when is_from_person then 'user'
        when metric_name like 'tensorzero::%' then 'judge'
        else 'program'
    end as judged_by,
    created_at
from dated;
