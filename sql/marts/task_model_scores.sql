-- name: task_model_scores
-- grain: task_type, model
-- unique: task_type, model
-- reads: usage_hourly, latency_buckets_hourly
-- What is known of each model on each task since $start, and on `*`, all tasks.
-- A model's overall quality and cost are standardised directly: its mean per task, weighted by the
-- task's share of everyone's requests, so that being sent the easy tasks flatters no model. Sparse
-- cells shrink to it. Weighted terms are decimals: their sum is the same in any order.
with
    cells as (
        select
            task_type,
            model_selected as model,
            sum(requests) as requests,
            sum(successes) as successes,
            sum(requests_with_quality) as requests_with_quality,
            sum(quality) as quality,
            sum(requests_with_cost) as requests_with_cost,
            sum(cost_usd) as cost_usd,
            sum(requests_with_tokens) as requests_with_tokens,
            sum(tokens_input) as tokens_input,
            sum(tokens_output) as tokens_output,
            sum(cost_usd_with_tokens) as cost_usd_with_tokens,
            sum(tokens_input_with_cost) as tokens_input_with_cost,
            sum(tokens_output_with_cost) as tokens_output_with_cost
        from usage_hourly
        where
            hour >= $start
            and model_selected is not null
        group by
            task_type,
            model_selected
    ),

    tasks as (
        select
            task_type,
            sum(requests) as weight
        from cells
        group by task_type
    ),

    everyone as (
        select sum(quality) / nullif(sum(requests_with_quality), 0) as quality_mean
        from cells
    ),

    weighted as (
        select
            cells.*,
            case when requests_with_quality > 0 then tasks.weight end as quality_weight,
            cast(tasks.weight * (quality / nullif(requests_with_quality, 0)) as decimal(38, 15))
                as quality_term,
            case when requests_with_cost > 0 then tasks.weight end as cost_weight,
            cast(tasks.weight * (cost_usd / nullif(requests_with_cost, 0)) as decimal(38, 18)) as cost_term
        from cells
        join tasks on tasks.task_type = cells.task_type
    ),

    models as (
        select
            model,
            sum(requests) as requests,
            sum(successes) as successes,
            sum(requests_with_quality) as requests_with_quality,
            sum(quality_term) / sum(quality_weight) as quality_standardised,
            sum(requests_with_cost) as requests_with_cost,
            sum(cost_term) / sum(cost_weight) as cost_usd_mean,
            sum(requests_with_tokens) as requests_with_tokens,
            sum(tokens_input) as tokens_input,
            sum(tokens_output) as tokens_output,
            sum(cost_usd_with_tokens) as cost_usd_with_tokens,
            sum(tokens_input_with_cost) as tokens_input_with_cost,
            sum(tokens_output_with_cost) as tokens_output_with_cost
        from weighted
        group by model
    ),

    overall as (
        select
            models.*,
            (requests_with_quality * quality_standardised + $prior_weight * everyone.quality_mean)
            / (requests_with_quality + $prior_weight) as quality_mean
        from models
        cross join everyone
    ),

    estimates as (
        select
            cells.task_type,
            cells.model,
            cells.requests,
            cells.successes,
            cells.requests_with_quality,
            (coalesce(cells.quality, 0) + $cell_weight * overall.quality_mean)
            / (cells.requests_with_quality + $cell_weight) as quality_mean,
            cells.requests_with_quality + $cell_weight as quality_weight,
            cells.requests_with_cost,
            cells.cost_usd / nullif(cells.requests_with_cost, 0) as cost_usd_mean,
            cells.requests_with_tokens,
            cells.tokens_input,
            cells.tokens_output,
            cells.cost_usd_with_tokens,
            cells.tokens_input_with_cost,
            cells.tokens_output_with_cost
        from cells
        join overall on overall.model = cells.model
        union all
        select
            $all_tasks as task_type,
            model,
            requests,
            successes,
            requests_with_quality,
            quality_mean,
            requests_with_quality + $prior_weight as quality_weight,
            requests_with_cost,
            cost_usd_mean,
            requests_with_tokens,
            tokens_input,
            tokens_output,
            cost_usd_with_tokens,
            tokens_input_with_cost,
            tokens_output_with_cost
        from overall
    ),

    beliefs as (
        select
            *,
            greatest(quality_mean * (1 - quality_mean), 0.01) / (quality_weight + 1) as quality_variance
        from estimates
    ),

    buckets as (
        select
            coalesce(task_type, $all_tasks) as task_type,
            model_selected as model,
            metric,
            bucket,
            sum(requests) as requests
        from latency_buckets_hourly
        where hour >= $start
        group by grouping sets (
            (task_type, model_selected, metric, bucket),
            (model_selected, metric, bucket)
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
    beliefs.task_type,
    beliefs.model,
    cast(beliefs.requests as bigint) as requests,
    cast(beliefs.requests_with_quality as bigint) as requests_with_quality,
    cast(beliefs.requests_with_cost as bigint) as requests_with_cost,
    cast(beliefs.requests_with_quality as double) as effective_sample_size,
    beliefs.quality_mean,
    case when beliefs.quality_mean is not null then beliefs.quality_variance end as quality_variance,
    case
        when beliefs.quality_mean is not null
        then greatest(beliefs.quality_mean - $z * sqrt(beliefs.quality_variance), 0.0)
    end as quality_low,
    case
        when beliefs.quality_mean is not null
        then least(beliefs.quality_mean + $z * sqrt(beliefs.quality_variance), 1.0)
    end as quality_high,
    beliefs.cost_usd_mean,
    beliefs.cost_usd_with_tokens / nullif(beliefs.tokens_input_with_cost, 0) as cost_usd_per_input_token,
    beliefs.cost_usd_with_tokens / nullif(beliefs.tokens_output_with_cost, 0) as cost_usd_per_output_token,
    beliefs.tokens_input / nullif(beliefs.requests_with_tokens, 0) as tokens_input_mean,
    beliefs.tokens_output / nullif(beliefs.requests_with_tokens, 0) as tokens_output_mean,
    beliefs.successes / beliefs.requests as success_rate,
    latency.p50 as latency_ms_p50,
    latency.p95 as latency_ms_p95,
    latency.p99 as latency_ms_p99,
    first_token.p50 as ttft_ms_p50,
    first_token.p95 as ttft_ms_p95,
    first_token.p99 as ttft_ms_p99
from beliefs
left join percentiles as latency
    on latency.task_type = beliefs.task_type
    and latency.model = beliefs.model
    and latency.metric = 'latency_ms'
left join percentiles as first_token
    on first_token.task_type = beliefs.task_type
    and first_token.model = beliefs.model
    and first_token.metric = 'ttft_ms'
order by
    beliefs.task_type,
    beliefs.model
