-- name: security_events_found
-- grain: day, environment, organization_id, kind, code
-- unique: day, environment, organization_id, kind, code
-- reads: security_events
-- Refusals by day, from the day $first on: earlier days are archived, and keep their rows.
create or replace temp table security_events_found as
select
    cast(timestamp as date) as day,
    environment,
    organization_id,
    kind,
    code,
    cast(sum(refusals) as bigint) as refusals,
    count(distinct api_key_id) as api_keys,
    count(distinct key_fingerprint) as unknown_keys,
    count(distinct ip_address) as ip_addresses,
    min(timestamp) as first_at,
    max(last_at) as last_at
from security_events
where timestamp >= cast($first as timestamptz)
group by
    cast(timestamp as date),
    environment,
    organization_id,
    kind,
    code
