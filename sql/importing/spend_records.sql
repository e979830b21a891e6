-- name: spend_records
-- grain: id
-- unique: id
-- reads:
-- The request records of one day ($day, UTC), in the order of their moments. Columns that it lacks are unknown.
-- The id is made from the moment and LiteLLM's id, so that the same request has the same id in every import.
select
    left(millis, 8) || '-' || substr(millis, 9) || '-7' || left(digest, 3) || '-'
    || translate(substr(digest, 4, 1), '0123456789abcdef', '89ab89ab89ab89ab') || substr(digest, 5, 3) || '-'
    || substr(digest, 8, 12) as id,
    timestamp,
    'litellm' as environment,
    organization_id,
    user_id,
    api_key_id,
    session_id,
    if(
        len(all_tags) < 2,
        all_tags,
        list_transform(
            list_sort(list_distinct(list_transform(all_tags, lambda t: t.key))),
            lambda k: struct_pack(
                key := k,
                value := array_to_string(
                    list_transform(list_filter(all_tags, lambda t: t.key = k), lambda t: t.value), ', '
                )
            )
        )
    ) as tags,
    operation,
    coalesce(
        list_filter(all_tags, lambda t: t.key in ('task', 'task_type'))[1].value,
        guesses.task_type,
        if(operation = 'embeddings', 'embedding', 'unlabelled')
    ) as task_type,
    case
        when len(list_filter(all_tags, lambda t: t.key in ('task', 'task_type'))) > 0 then 'caller'
        else coalesce(guesses.source, if(operation = 'embeddings', 'rule', 'default'))
    end as task_type_source,
    guesses.confidence as task_type_confidence,
    model_requested,
    coalesce(streams, false) as is_streaming,
    model_selected,
    provider,
    'litellm' as policy_id,
    1 as policy_version,
    '0000000000000000' as config_hash,
    'pinned' as strategy,
    'imported from the spend logs of LiteLLM' as reason,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_cache_write,
    tokens_reasoning,
    if(tokens_input is null, 'unknown', 'provider') as usage_source,
    cost_usd,
    if(cost_usd is null, null, 'litellm') as price_id,
    is_success as success,
    status_code,
    error_type,
    latency_ms,
    ttft_ms,
    model_selected as model_decided,
    provider_request_id
from spend_rows
semi join (select row from spend_new where day = $day) as fresh on fresh.row = spend_rows.row
left join guesses on guesses.row = spend_rows.row
where timestamp >= cast($day as timestamp) at time zone 'UTC'
    and timestamp < (cast($day as timestamp) + interval 1 day) at time zone 'UTC'
order by
    timestamp,
    id;
