-- name: shown_lake
-- grain: one row
-- unique: one row
-- reads: pipeline.load_ledger, pipeline.quarantine
-- The loaded segments that are in the lake, their rows, the newest request, and the files that are not read.
select
    count(*) as segments,
    sum(rows_in_file) as rows,
    max(last_at) filter (where dataset = 'request_analytics') as last_request_at,
    (select count(*) from pipeline.quarantine) as quarantined
from pipeline.load_ledger
where
    replaced_by is null
    and expired_at is null
