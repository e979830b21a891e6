-- name: tensorzero_records
-- grain: id
-- unique: id
-- reads:
-- The request records of one day ($day, UTC), in the order of their moments. Columns that it lacks are unknown. Ids are
-- TensorZero's own.
select
    id,
    timestamp,
    'tensorzero' as environment,
    user_id,
    session_id,
    tags,
    'chat' as operation,
    task_type,
    task_type_source,
    model_requested,
    ttft_ms is not null as is_streaming,
    model_selected,
    provider,
    'tensorzero' as policy_id,
    1 as policy_version,
    '0000000000000000' as config_hash,
    'pinned' as strategy,
    'imported from the tables of TensorZero' as reason,
    tokens_input,
    tokens_output,
    tokens_cached_input,
    tokens_cache_write,
    if(tokens_input is null, 'unknown', 'provider') as usage_source,
    cost_usd,
    if(cost_usd is null, null, 'tensorzero') as price_id,
    true as success,
    finish_reason,
    latency_ms,
    ttft_ms,
    model_decided
from tensorzero_new
where cast(date_trunc('day', timestamp at time zone 'UTC') as date) = $day
order by
    timestamp,
    id;
