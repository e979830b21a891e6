-- name: ledger_matches_table
-- grain: segment
-- unique: segment
-- reads: pipeline.load_ledger, request_analytics
-- Segments between $start and $end whose rows in the table are not those the ledger noted.
with
    found as (
        select
            segment,
            count(*) as rows_found
        from request_analytics
        where
            timestamp >= $start
            and timestamp < $end
        group by segment
    ),

    noted as (
        select
            name as segment,
            rows_loaded
        from pipeline.load_ledger
        where
            dataset = 'request_analytics'
            and expired_at is null
            and replaced_by is null
            and first_at >= $start
            and last_at < $end
    )

select
    coalesce(noted.segment, found.segment) as segment,
    noted.rows_loaded,
    found.rows_found
from noted
full join found on found.segment = noted.segment
where
    noted.rows_loaded is distinct from found.rows_found
    and (noted.rows_loaded > 0 or found.rows_found > 0)
order by segment
limit 20
