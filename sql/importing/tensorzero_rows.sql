-- name: tensorzero_rows
-- grain: source, row
-- unique: source, row
-- reads:
-- Each inference of TensorZero with the sums of its model inferences, and the first cause why it is no request; NULL if
-- it is one. A call that TensorZero answered from its own cache cost nothing. A sum of which a part is unknown is unknown.
create table tensorzero_rows as
with
    calls as (
        select
            inference_id,
            id,
            model_name,
            model_provider_name,
            finish_reason,
            lower(coalesce(cached, '')) in ('true', '1') as is_cache_hit,
            try_cast(input_tokens as bigint) as tokens_in,
            try_cast(output_tokens as bigint) as tokens_out,
            try_cast(provider_cache_read_input_tokens as bigint) as tokens_read,
            try_cast(provider_cache_write_input_tokens as bigint) as tokens_written,
            try_cast(response_time_ms as double) as time_ms,
            try_cast(ttft_ms as double) as first_ms,
            try_cast(cost as decimal(38, 12)) as cost_usd,
            case
                when input_tokens is not null and coalesce(try_cast(input_tokens as bigint), -1) not between 0 and 1e12
                    then '`input_tokens` is `' || left(input_tokens, 40) || '`, no count'
                when output_tokens is not null and coalesce(try_cast(output_tokens as bigint), -1) not between 0 and 1e12
                    then '`output_tokens` is `' || left(output_tokens, 40) || '`, no count'
                when cost is not null and try_cast(cost as decimal(38, 12)) is null
                    then '`cost` is `' || left(cost, 40) || '`, no number'
                when try_cast(cost as decimal(38, 12)) < 0 then '`cost` is `' || left(cost, 40) || '`, below zero'
                when try_cast(cost as decimal(38, 12)) > 1e9 then '`cost` is `' || left(cost, 40) || '`, beyond any request'
            end as cause
        from model_inferences
        qualify row_number() over (partition by inference_id, id order by row) = 1
    ),

    sums as (
        select
            inference_id,
            count(*) as calls,
            min(cause) as cause,
            bool_and(is_cache_hit) as is_cache_hit,
            arg_max(model_name, id) as model_selected,
            arg_min(model_name, id) as model_decided,
            arg_max(model_provider_name, id) as provider,
            arg_max(finish_reason, id) as finish_reason,
            if(count(*) = count(tokens_in), sum(tokens_in), null) as tokens_input,
            if(count(*) = count(tokens_out), sum(tokens_out), null) as tokens_output,
            if(count(*) = count(tokens_read), sum(tokens_read), null) as tokens_cached_input,
            if(count(*) = count(tokens_written), sum(tokens_written), null) as tokens_cache_write,
            if(count(*) = count(time_ms), sum(time_ms), null) as time_ms,
            arg_min(first_ms, id) as first_ms,
            if(count(*) = count(if(is_cache_hit, 0, cost_usd)), sum(if(is_cache_hit, 0, cost_usd)), null) as cost_usd
        from calls
        group by inference_id
    ),

    typed as (
        select
            inferences.* exclude (id, ttft_ms),
            lower(inferences.id) as id,
            length(inferences.id) = 36
            and substr(inferences.id, 15, 1) = '7'
            and try_cast(inferences.id as uuid) is not null as is_dated,
            try_cast(inferences.processing_time_ms as double) as whole_ms,
            coalesce(try_cast(inferences.ttft_ms as double), sums.first_ms) as ttft_ms,
            if(json_valid(inferences.tags), map_entries(from_json(inferences.tags, '"MAP(VARCHAR, VARCHAR)"')), []) as found_tags,
            sums.* exclude (inference_id)
        from inferences
        left join sums on sums.inference_id = inferences.id
    ),

    dated as (
        select
            *,
            if(is_dated, make_timestamptz(try_cast('0x' || left(id, 8) || substr(id, 10, 4) as bigint) * 1000), null) as timestamp,
            coalesce(whole_ms, time_ms) as latency_ms
        from typed
    )

select
    source,
    row,
    case
        when nullif(id, '') is null then 'it has no `id`'
        when not coalesce(is_dated, false) then '`id` is `' || left(id, 40) || '`, no UUIDv7, which holds the moment'
        when timestamp > $latest then '`id` is `' || left(id, 40) || '`, in the future'
        when timestamp < $earliest then '`id` is `' || left(id, 40) || '`, before any model was served'
        when nullif(function_name, '') is null then 'it has no `function_name`'
        when calls is null then 'it has no row in ModelInference'
        when cause is not null then cause
        when latency_ms is null then 'it has neither `processing_time_ms` nor `response_time_ms`'
        when latency_ms < 0 then '`processing_time_ms` is `' || left(processing_time_ms, 40) || '`, below zero'
    end as cause,
    id,
    timestamp,
    list_filter(found_tags, lambda t: t.key = 'user_id')[1].value as user_id,
    lower(episode_id) as session_id,
    list_concat(
        list_filter(found_tags, lambda t: t.key not in ('user_id', 'variant', 'cache_hit')),
        list_filter(
            [
                struct_pack(key := 'variant', value := nullif(variant_name, '')),
                struct_pack(key := 'cache_hit', value := if(is_cache_hit, 'true', null))
            ],
            lambda t: t.value is not null
        )
    ) as tags,
    if(function_name = 'tensorzero::default', 'unlabelled', function_name) as task_type,
    if(function_name = 'tensorzero::default', 'default', 'caller') as task_type_source,
    if(function_name = 'tensorzero::default', coalesce(model_decided, 'unknown'), 'auto') as model_requested,
    nullif(model_selected, '') as model_selected,
    nullif(model_decided, '') as model_decided,
    nullif(provider, '') as provider,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_cache_write,
    cost_usd,
    nullif(finish_reason, '') as finish_reason,
    latency_ms,
    ttft_ms
from dated;
