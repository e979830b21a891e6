-- name: reconciliation
-- grain: reconciliation_id, cause
-- unique: reconciliation_id, cause
-- reads: reconciliation_differences, reconciliations
-- Where the bills of providers differ from the records, and why: a row for each bill and cause, and one for the parts on
-- which both agree. The rows of a bill add up to both of its sides. A bill counts if its days reach into the period; by
-- default 400 days.
-- Variables, each optional: since, until (moments), timezone (of their days; UTC). In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/reconciliation.sql
with
    parts as (
        select
            reconciliation_id,
            cause,
            count(*) as parts,
            sum(ours_usd) as ours_usd,
            sum(theirs_usd) as theirs_usd,
            sum(difference_usd) as difference_usd
        from reconciliation_differences
        group by
            reconciliation_id,
            cause
    )

select
    reconciliations.id as reconciliation_id,
    reconciliations.file_name,
    reconciliations.catalog_providers,
    reconciliations.first_day,
    reconciliations.last_day,
    coalesce(parts.cause, 'both sides agree') as cause,
    parts.parts,
    parts.ours_usd,
    parts.theirs_usd,
    parts.difference_usd
from reconciliations
inner join parts on parts.reconciliation_id = reconciliations.id
where
    reconciliations.last_day
    >= cast(timezone(coalesce(getvariable('timezone'), 'UTC'), coalesce(cast(getvariable('since') as timestamptz), now() - interval 400 days)) as date)
    and reconciliations.first_day
    <= cast(timezone(coalesce(getvariable('timezone'), 'UTC'), coalesce(cast(getvariable('until') as timestamptz), now()) - interval 1 microsecond) as date)
order by
    reconciliations.first_day desc,
    reconciliations.file_name,
    reconciliations.id,
    parts.cause is null,
    abs(parts.difference_usd) desc nulls last,
    parts.cause;
