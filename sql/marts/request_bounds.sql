-- name: request_bounds
-- grain: one row
-- unique: first_at
-- reads: usage_quarter_hourly
-- The first and the last quarter of an hour with requests that the warehouse holds; NULL without any. The variable
-- `organization` is that of the reports.
select
    min(quarter_hour) as first_at,
    max(quarter_hour) as last_at
from usage_quarter_hourly
where getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), '')
