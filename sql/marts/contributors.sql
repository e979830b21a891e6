-- name: contributors
-- grain: scope, subject
-- unique: scope, subject
-- reads: request_analytics
-- The share of each organisation, task, model and key in the change of $metric within a series, between
-- the hours from $before to $start and those from $start to $end. An hour before counts $scale times.
with
    amounts as (
        select
            organization_id,
            task_type,
            model_selected,
            api_key_id,
            case when timestamp < $start then -$scale else 1.0 end * case
                when $metric = 'requests' then 1.0
                when $metric in ('cost_usd', 'cost_usd_mean') then cast(coalesce(cost_usd, 0) as double)
                when $metric = 'error_share' then cast(not success as integer)
                when $metric in ('latency_ms_p95', 'latency_ms_geomean') then latency_ms
                when $metric = 'dear_share' then cast(list_contains($dear, model_selected) as integer)
                when $metric = 'unknown_cost_share' then cast(success and cost_usd is null as integer)
                when $metric = 'tokens_output_mean' then coalesce(tokens_output, 0)
                when $metric = 'cut_share' then cast(coalesce(finish_reason = 'length', false) as integer)
                when $metric = 'redirected_share'
                then cast(
                    model_answered is not null
                    and contains(reason, 'its provider redirected the request to') as integer
                )
                else cast(
                    coalesce(finish_reason = 'content_filter', false)
                    or coalesce(error_type = 'content_filter', false) as integer
                )
            end as amount
        from request_analytics
        where
            timestamp >= $before
            and timestamp < $end
            and environment = $environment
            and case $scope
                when 'all' then true
                when 'organization' then organization_id = $subject
                when 'task' then task_type = $subject
                when 'model' then model_selected = $subject
                else api_key_id = $subject
            end
    ),

    changes as (
        select
            case
                when grouping(organization_id) = 0 then 'organization'
                when grouping(task_type) = 0 then 'task'
                when grouping(model_selected) = 0 then 'model'
                else 'key'
            end as scope,
            coalesce(organization_id, task_type, model_selected, api_key_id) as subject,
            sum(amount) as change
        from amounts
        group by
            grouping sets (
                (organization_id),
                (task_type),
                (model_selected),
                (api_key_id)
            )
    )

select
    scope,
    subject,
    change / (select nullif(sum(amount), 0) from amounts) as share
from changes
where
    subject is not null
    and scope <> $scope
order by
    share desc nulls last,
    scope,
    subject
limit 200
