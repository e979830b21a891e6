-- name: report_organizations
-- grain: organization_id
-- unique: organization_id
-- reads: usage_hourly
-- The organisations with requests since $since, and the figures by which their pages are seen to be old.
select
    organization_id,
    sum(requests) as requests,
    sum(cost_usd) as cost_usd,
    max(last_request_at) as last_request_at,
    max(last_feedback_at) as last_feedback_at
from usage_hourly
where hour >= $since
group by organization_id
order by organization_id
