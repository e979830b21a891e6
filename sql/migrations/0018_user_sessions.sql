-- name: 0018_user_sessions
-- grain: session_id, organization_id, api_key_id
-- unique: session_id, organization_id, api_key_id
-- reads: request_analytics
-- Conversations, from the records of their requests. A client makes up the id, so a session is one only
-- together with its owner. The view holds no rows of its own: a session lasts as long as its raw rows, and
-- leaves with the erased person.

create view user_sessions as
select
    session_id,
    arg_max(user_id, timestamp) as user_id,
    json_object('policy', arg_max(policy_id, timestamp), 'model', arg_max(model_requested, timestamp))
        as routing_preferences,
    json_object(
        'model', arg_max(model_selected, timestamp) filter (where success),
        'policy', arg_max(policy_id, timestamp),
        'requests', count(*),
        'tokens_input', cast(sum(tokens_input) as bigint),
        'tokens_output', cast(sum(tokens_output) as bigint),
        'last_task', arg_max(task_type, timestamp)
    ) as conversation_context,
    if(
        count(budget_reserved_usd) = 0,
        null,
        json_object(
            'reserved_usd', cast(arg_max(budget_reserved_usd, timestamp) as varchar),
            'spent_usd', cast(sum(cost_usd) as varchar)
        )
    ) as budget_limits,
    min(timestamp) as created_at,
    max(timestamp) as last_activity,
    organization_id,
    api_key_id
from request_analytics
where session_id is not null
group by session_id, organization_id, api_key_id;
