-- name: spend_rows
-- grain: row
-- unique: row
-- reads:
-- Each row of LiteLLM's spend logs with types, and the first cause why it is no request; NULL if it is one.
-- Moments without an offset are of the connection's time zone. Tokens that are all 0, and a spend of 0 that no
-- cache explains, are what LiteLLM writes where it knows nothing: NULL.
create table spend_rows as
with
    typed as (
        select
            *,
            try_cast("startTime" as timestamptz) as started_at,
            try_cast("endTime" as timestamptz) as ended_at,
            try_cast("completionStartTime" as timestamptz) as first_at,
            try_cast(spend as decimal(38, 12)) as spend_usd,
            try_cast(prompt_tokens as bigint) as tokens_in,
            try_cast(completion_tokens as bigint) as tokens_out,
            try_cast(total_tokens as bigint) as tokens_all,
            try_cast(request_duration_ms as double) as duration_ms,
            lower(coalesce(cache_hit, '')) = 'true' as is_cache_hit,
            md5(request_id) as digest,
            if(
                json_valid(metadata),
                json_extract_string(
                    metadata,
                    [
                        '$.additional_usage_values.prompt_tokens_details.cached_tokens',
                        '$.usage_object.prompt_tokens_details.cached_tokens',
                        '$.additional_usage_values.cache_read_input_tokens',
                        '$.usage_object.cache_read_input_tokens',
                        '$.additional_usage_values.cache_creation_input_tokens',
                        '$.usage_object.cache_creation_input_tokens',
                        '$.additional_usage_values.completion_tokens_details.reasoning_tokens',
                        '$.usage_object.completion_tokens_details.reasoning_tokens',
                        '$.error_information.error_class',
                        '$.error_information.error_code',
                        '$.status'
                    ]
                ),
                []
            ) as details
        from source
    ),

    measured as (
        select
            *,
            coalesce(duration_ms, (epoch_us(ended_at) - epoch_us(started_at)) / 1000.0) as latency_ms,
            coalesce(tokens_in, 0) = 0
            and coalesce(tokens_out, 0) = 0
            and coalesce(tokens_all, 0) = 0 as has_no_tokens,
            coalesce(nullif(status, ''), details[11], 'success') <> 'failure' as is_success,
            if(
                json_valid(request_tags) and request_tags like '["%',
                list_transform(
                    from_json(request_tags, '["VARCHAR"]'),
                    lambda t: if(
                        strpos(t, ':') > 1,
                        struct_pack(key := trim(split_part(t, ':', 1)), value := trim(substr(t, strpos(t, ':') + 1))),
                        struct_pack(key := t, value := 'true')
                    )
                ),
                []
            ) as found_tags
        from typed
    ),

    judged as (
        select
            *,
            case
                when is_broken then 'it is no JSON object'
                when nullif(request_id, '') is null then 'it has no `request_id`'
                when "startTime" is null then 'it has no `startTime`'
                when started_at is null then '`startTime` is `' || left("startTime", 40) || '`, no moment'
                when started_at > $latest then '`startTime` is `' || left("startTime", 40) || '`, in the future'
                when started_at < $earliest
                    then '`startTime` is `' || left("startTime", 40) || '`, before any model was served'
                when spend is not null and spend_usd is null then '`spend` is `' || left(spend, 40) || '`, no number'
                when spend_usd < 0 then '`spend` is `' || left(spend, 40) || '`, below zero'
                when spend_usd > 1e9 then '`spend` is `' || left(spend, 40) || '`, beyond any request'
                when prompt_tokens is not null and tokens_in is null
                    then '`prompt_tokens` is `' || left(prompt_tokens, 40) || '`, no number'
                when completion_tokens is not null and tokens_out is null
                    then '`completion_tokens` is `' || left(completion_tokens, 40) || '`, no number'
                when tokens_in not between 0 and 1e12
                    then '`prompt_tokens` is `' || left(prompt_tokens, 40) || '`, no count'
                when tokens_out not between 0 and 1e12
                    then '`completion_tokens` is `' || left(completion_tokens, 40) || '`, no count'
                when latency_ms is null then 'it has neither `request_duration_ms` nor a readable `endTime`'
                when latency_ms < 0 then 'it ends at `' || left("endTime", 40) || '`, before it starts'
            end as cause
        from measured
    )

select
    row,
    cause,
    request_id as provider_request_id,
    started_at as timestamp,
    lpad(to_hex(epoch_ms(started_at)), 12, '0') as millis,
    digest,
    coalesce(nullif(organization_id, ''), nullif(team_id, '')) as organization_id,
    coalesce(nullif(end_user, ''), nullif("user", '')) as user_id,
    case
        when coalesce(api_key, '') = '' then null
        when length(api_key) = 64 and regexp_full_match(api_key, '[0-9a-f]+') then 'key_' || left(api_key, 12)
        else 'key_' || left(sha256(api_key), 12)
    end as api_key_id,
    nullif(session_id, '') as session_id,
    list_concat(
        found_tags,
        list_filter(
            [
                struct_pack(key := 'team', value := nullif(team_id, '')),
                struct_pack(key := 'key_owner', value := if(end_user <> '', nullif("user", ''), null)),
                struct_pack(key := 'cache_hit', value := if(is_cache_hit, 'true', null))
            ],
            lambda t: t.value is not null
        )
    ) as all_tags,
    case
        when call_type like '%embedding%' then 'embeddings'
        when call_type is null or call_type = '' then 'chat'
        when regexp_matches(call_type, 'completion|response|anthropic|generate_content') then 'chat'
        else call_type
    end as operation,
    coalesce(nullif(model_group, ''), nullif(model, ''), 'unknown') as model_requested,
    first_at > started_at and first_at < ended_at as streams,
    nullif(model, '') as model_selected,
    nullif(custom_llm_provider, '') as provider,
    if(has_no_tokens, null, tokens_in) as tokens_input,
    if(has_no_tokens, null, tokens_out) as tokens_output,
    coalesce(
        try_cast(details[1] as bigint),
        try_cast(details[2] as bigint),
        try_cast(details[3] as bigint),
        try_cast(details[4] as bigint)
    ) as tokens_cached_input,
    coalesce(try_cast(details[5] as bigint), try_cast(details[6] as bigint)) as tokens_cache_write,
    coalesce(try_cast(details[7] as bigint), try_cast(details[8] as bigint)) as tokens_reasoning,
    if(spend_usd = 0 and not is_cache_hit, null, spend_usd) as cost_usd,
    spend_usd = 0 and not is_cache_hit and not has_no_tokens as is_zero_with_tokens,
    is_success,
    if(is_success, null, coalesce(details[9], 'unknown')) as error_type,
    try_cast(details[10] as bigint) as status_code,
    latency_ms,
    if(first_at > started_at and first_at < ended_at, (epoch_us(first_at) - epoch_us(started_at)) / 1000.0, null)
        as ttft_ms,
    messages
from judged
order by started_at, row;
