-- name: known_cost
-- grain: one row
-- unique: requests
-- reads: usage_quarter_hourly
-- Requests of a report's period, and those with a known cost. Its variables are those of the reports.
select
    coalesce(sum(requests), 0) as requests,
    coalesce(sum(requests_with_cost), 0) as requests_with_cost
from usage_quarter_hourly
where
    quarter_hour >= time_bucket(interval '15 minutes', cast(getvariable('since') as timestamptz))
    and quarter_hour < time_bucket(interval '15 minutes', cast(getvariable('until') as timestamptz))
    and (getvariable('organization') is null or organization_id is not distinct from nullif(getvariable('organization'), ''))
