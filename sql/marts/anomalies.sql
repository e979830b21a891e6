-- name: anomalies
-- grain: anomaly_id
-- unique: anomaly_id
-- reads: anomalies
-- Incidents since $since as people ask for them, the newest first. With $open, those that have not ended.
select
    incident_id,
    scope,
    subject,
    metric,
    since,
    ended_at,
    seen,
    expected,
    expected_low,
    expected_high,
    cast(contributors as varchar) as contributors,
    detected_at,
    environment
from anomalies
where
    since >= $since
    and (not $open or ended_at is null)
order by
    since desc,
    incident_id,
    detected_at,
    scope,
    subject,
    metric
