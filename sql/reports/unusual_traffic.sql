-- name: unusual_traffic
-- grain: incident_id, scope, subject, metric, since
-- unique: anomaly_id
-- reads: anomalies
-- Hours in which a figure left its usual course, newest first; by default 30 days.
-- Variables, each optional: since, until (moments), organization. In the DuckDB shell:
--     set variable since = timestamptz '2026-11-01';
--     .read sql/reports/unusual_traffic.sql
select
    incident_id,
    environment,
    scope,
    subject,
    metric,
    since,
    ended_at,
    seen,
    expected,
    expected_low,
    expected_high,
    seen / nullif(expected, 0) as seen_by_expected
from anomalies
where
    since >= coalesce(cast(getvariable('since') as timestamptz), now() - interval 30 days)
    and since < coalesce(cast(getvariable('until') as timestamptz), now())
    and (
        getvariable('organization') is null
        or (scope = 'organization' and subject is not distinct from nullif(getvariable('organization'), ''))
    )
order by
    since desc,
    incident_id,
    scope,
    subject,
    metric;
