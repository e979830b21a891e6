-- name: pipeline.removed_billing_usage
-- grain: hour, organization_id, model, provider
-- unique: hour, organization_id, model, provider
-- reads:
-- The usage in a share that was kept before bills were counted: the file $path, without prices.
insert into pipeline.removed_billing_usage by name
select
    hour,
    hour as quarter,
    organization_id,
    model_selected as model,
    provider,
    requests,
    successes,
    requests_with_cost,
    cost_usd,
    requests_with_tokens,
    tokens_input,
    tokens_cached_input,
    tokens_output,
    tokens_reasoning
from read_parquet($path, hive_partitioning = false)
