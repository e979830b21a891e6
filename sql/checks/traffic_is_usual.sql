-- name: traffic_is_usual
-- grain: anomaly_id
-- unique: anomaly_id
-- reads: anomalies
-- Incidents detected between $start and $end that have not ended: series that left their usual course.
select
    metric,
    scope,
    subject,
    since,
    seen,
    expected
from anomalies
where
    detected_at >= $start
    and detected_at < $end
    and ended_at is null
order by
    detected_at,
    metric,
    scope,
    subject
