-- name: units_in_several_variants
-- grain: experiment_id
-- unique: experiment_id
-- reads: request_analytics, routing_experiments
-- Sessions, users or organisations that an experiment treated by more than one variant, in the raw rows that
-- are kept. After a change of shares some units change their variant.
with
    members as (
        select
            request_analytics.experiment_id,
            request_analytics.variant,
            case routing_experiments.unit
                when 'session' then request_analytics.session_id
                when 'user' then request_analytics.user_id
                when 'organization' then request_analytics.organization_id
            end as member
        from request_analytics
        join routing_experiments on routing_experiments.id = request_analytics.experiment_id
        where
            request_analytics.experiment_id is not null
            and request_analytics.variant is not null
            and routing_experiments.unit <> 'request'
    ),

    counted as (
        select
            experiment_id,
            member,
            count(distinct variant) as variants
        from members
        where member is not null
        group by
            experiment_id,
            member
    )

select
    experiment_id,
    count(*) filter (where variants > 1) as units
from counted
group by experiment_id
