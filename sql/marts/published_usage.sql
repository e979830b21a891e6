-- name: published_usage
-- grain: organization_id, day
-- unique: organization_id, day
-- reads: request_analytics
-- Use of each organisation from $start to $end by day, as the JSON of the day's file: a list for each model
-- and task, which ends with a list of a list for each user, with the values that routers expect.
with
    by_user as (
        select
            organization_id,
            cast(timestamp as date) as day,
            model_selected,
            task_type,
            user_id,
            json_array(
                user_id,
                count(*),
                count(*) filter (where success),
                cast(coalesce(sum(tokens_input), 0) as bigint),
                cast(coalesce(sum(tokens_output), 0) as bigint),
                count(cost_usd),
                rtrim(rtrim(cast(sum(cost_usd) as varchar), '0'), '.')
            ) as line
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        group by
            organization_id,
            cast(timestamp as date),
            model_selected,
            task_type,
            user_id
    ),

    by_task as (
        select
            organization_id,
            day,
            model_selected,
            task_type,
            '[' || coalesce(to_json(model_selected), 'null') || ',' || coalesce(to_json(task_type), 'null')
            || ',[' || string_agg(line, ',' order by user_id) || ']]' as part
        from by_user
        group by
            organization_id,
            day,
            model_selected,
            task_type
    )

select
    organization_id,
    day,
    '[' || string_agg(part, ',' order by model_selected, task_type) || ']' as content
from by_task
group by
    organization_id,
    day
order by
    organization_id,
    day
