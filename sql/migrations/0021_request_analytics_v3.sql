-- name: 0021_request_analytics_v3
-- grain: id
-- unique: id
-- reads:
-- The columns of schema version 3; NULL in the rows of earlier versions.

alter table request_analytics add column model_answered varchar;
alter table request_analytics add column service_tier varchar;
alter table request_analytics add column provider_request_id varchar;
alter table request_analytics add column provider_region varchar;
