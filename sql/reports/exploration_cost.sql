-- name: exploration_cost
-- grain: day, policy_id
-- unique: day, policy_id
-- reads: request_analytics
-- Expected cost of exploration beyond the model of highest utility; by default 30 days.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization, timezone (of the days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/exploration_cost.sql
with
    explored as (
        select
            cast(timezone(coalesce(getvariable('timezone'), 'UTC'), timestamp) as date) as day,
            policy_id,
            is_exploration,
            list_filter(candidates, lambda item: item.model = model_decided)[1].cost_usd as own_usd,
            list_reverse_sort(
                list_transform(
                    list_filter(candidates, lambda item: item.is_eligible and item.utility is not null),
                    lambda item: struct_pack(utility := item.utility, cost_usd := item.cost_usd)
                )
            )[1].cost_usd as best_usd
        from request_analytics
        where
            strategy = 'thompson'
            and timestamp >= time_bucket(
                interval '15 minutes',
                coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)
            )
            and timestamp < coalesce(
                time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)),
                now()
            )
            and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
    )

select
    day,
    policy_id,
    count(*) as requests,
    count(*) filter (where is_exploration) as explorations,
    count(*) filter (where is_exploration and own_usd - best_usd is not null) as explorations_with_cost,
    sum(greatest(own_usd - best_usd, 0)) filter (where is_exploration) as exploration_usd
from explored
group by
    day,
    policy_id
order by
    day,
    policy_id;
