-- name: security_events_daily
-- grain: day, environment, organization_id, kind, code
-- unique: day, environment, organization_id, kind, code
-- reads: security_events_found
-- The refusals of each day, as they were found.
insert into security_events_daily (
    day,
    environment,
    organization_id,
    kind,
    code,
    refusals,
    api_keys,
    unknown_keys,
    ip_addresses,
    first_at,
    last_at
)
select
    day,
    environment,
    organization_id,
    kind,
    code,
    refusals,
    api_keys,
    unknown_keys,
    ip_addresses,
    first_at,
    last_at
from security_events_found
