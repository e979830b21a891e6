-- name: security_events_daily
-- grain: day, environment, organization_id, kind, code
-- unique: day, environment, organization_id, kind, code
-- reads:
-- The sum of a day's archived files. A key or address that two folders saw counts in each.
insert into security_events_daily by name
select
    day,
    environment,
    organization_id,
    kind,
    code,
    cast(sum(refusals) as bigint) as refusals,
    cast(sum(api_keys) as bigint) as api_keys,
    cast(sum(unknown_keys) as bigint) as unknown_keys,
    cast(sum(ip_addresses) as bigint) as ip_addresses,
    min(first_at) as first_at,
    max(last_at) as last_at
from read_parquet($paths, hive_partitioning = false)
group by
    day,
    environment,
    organization_id,
    kind,
    code
