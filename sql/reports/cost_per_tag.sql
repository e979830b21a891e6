-- name: cost_per_tag
-- grain: tag, value
-- unique: tag, value
-- reads: request_analytics
-- What the requests with each value of each tag cost, from the raw rows that are kept; by default 30 days. The rows
-- of one tag add up to all requests: its value NULL is the requests without the tag.
-- Variables, each optional: since, until (moments; the start of their quarter of an hour counts),
-- organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/cost_per_tag.sql
with
    chosen as (
        select
            tags,
            cost_usd
        from request_analytics
        where
            timestamp >= time_bucket(interval '15 minutes', coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days))
            and timestamp < coalesce(time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz)), now())
            and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
    ),

    entries as (
        select
            unnest(map_entries(tags)) as entry,
            cost_usd
        from chosen
    ),

    tagged as (
        select
            entry.key as tag,
            entry.value as value,
            count(*) as requests,
            count(cost_usd) as requests_with_cost,
            sum(cost_usd) as cost_usd
        from entries
        group by
            entry.key,
            entry.value
    ),

    names as (
        select distinct tag
        from tagged
    ),

    untagged as (
        select
            names.tag,
            cast(null as varchar) as value,
            count(*) as requests,
            count(chosen.cost_usd) as requests_with_cost,
            sum(chosen.cost_usd) as cost_usd
        from names
        join chosen on coalesce(not map_contains(chosen.tags, names.tag), true)
        group by names.tag
    )

select *
from tagged
union all
select *
from untagged
order by
    tag,
    cost_usd desc nulls last,
    value nulls last;
