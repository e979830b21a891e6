-- name: task_model_scores
-- grain: task_type, model
-- unique: task_type, model
-- reads: usage_quarter_hourly, latency_buckets_hourly
-- Traffic of each model on each task of $environment since $start, and of `*`, all tasks or any model.
-- Latency that was archived without its environment counts for every environment.
with
    cells as (
        select
            coalesce(task_type, $all_tasks) as task_type,
            coalesce(model_selected, $any_model) as model,
            sum(requests) as requests,
            sum(successes) as successes,
            sum(requests_with_quality) as requests_with_quality,
            sum(requests_with_cost) as requests_with_cost,
            sum(cost_usd) as cost_usd,
            sum(requests_with_tokens) as requests_with_tokens,
            sum(tokens_input) as tokens_input,
            sum(tokens_output) as tokens_output,
            sum(
                case
                    when requests_with_cost_and_tokens = requests_with_cost then cost_usd
                    else cost_usd_with_tokens
                end
            ) as cost_usd_with_tokens,
            sum(
                case
                    when requests_with_cost_and_tokens = requests_with_tokens then tokens_input
                    else tokens_input_with_cost
                end
            ) as tokens_input_with_cost,
            sum(
                case
                    when requests_with_cost_and_tokens = requests_with_tokens then tokens_output
                    else tokens_output_with_cost
                end
            ) as tokens_output_with_cost
        from usage_quarter_hourly
        where
            quarter_hour >= $start
            and environment = $environment
            and model_selected is not null
        group by grouping sets (
            (task_type, model_selected),
            (task_type),
            (model_selected),
            ()
        )
        having sum(requests) > 0
    ),

    buckets as (
        select
            coalesce(task_type, $all_tasks) as task_type,
            coalesce(model_selected, $any_model) as model,
            metric,
            bucket,
            sum(requests) as requests
        from latency_buckets_hourly
        where
            hour >= $start
            and coalesce(environment, $environment) = $environment
        group by grouping sets (
            (task_type, model_selected, metric, bucket),
            (task_type, metric, bucket),
            (model_selected, metric, bucket),
            (metric, bucket)
        )
    ),

    ranked as (
        select
            task_type,
            model,
            metric,
            2 * pow($gamma, bucket) / ($gamma + 1) as milliseconds,
            sum(requests) over (
                partition by task_type, model, metric
                order by bucket
            ) as requests_up_to,
            sum(requests) over (partition by task_type, model, metric) - 1 as last_rank
        from buckets
    ),

    percentiles as (
        select
            task_type,
            model,
            metric,
            min(milliseconds) filter (where requests_up_to > 0.50 * last_rank) as p50,
            min(milliseconds) filter (where requests_up_to > 0.95 * last_rank) as p95,
            min(milliseconds) filter (where requests_up_to > 0.99 * last_rank) as p99
        from ranked
        group by
            task_type,
            model,
            metric
    )

select
    cells.task_type,
    cells.model,
    cast(cells.requests as bigint) as requests,
    cast(cells.successes as bigint) as successes,
    cast(cells.requests_with_quality as bigint) as requests_with_quality,
    cast(cells.requests_with_cost as bigint) as requests_with_cost,
    cells.cost_usd,
    cast(cells.requests_with_tokens as bigint) as requests_with_tokens,
    cast(cells.tokens_input as bigint) as tokens_input,
    cast(cells.tokens_output as bigint) as tokens_output,
    cells.cost_usd_with_tokens,
    cast(cells.tokens_input_with_cost as bigint) as tokens_input_with_cost,
    cast(cells.tokens_output_with_cost as bigint) as tokens_output_with_cost,
    latency.p50 as latency_ms_p50,
    latency.p95 as latency_ms_p95,
    latency.p99 as latency_ms_p99,
    first_token.p50 as ttft_ms_p50,
    first_token.p95 as ttft_ms_p95,
    first_token.p99 as ttft_ms_p99
from cells
left join percentiles as latency
    on latency.task_type = cells.task_type
    and latency.model = cells.model
    and latency.metric = 'latency_ms'
left join percentiles as first_token
    on first_token.task_type = cells.task_type
    and first_token.model = cells.model
    and first_token.metric = 'ttft_ms'
order by
    cells.task_type,
    cells.model
