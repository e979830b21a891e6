-- name: 0008_request_analytics_v2
-- grain: id
-- unique: id
-- reads:
-- The columns of schema version 2; NULL in the rows of version 1.

alter table request_analytics add column task_type_confidence double;
alter table request_analytics add column draw double;
alter table request_analytics add column tokens_input_estimated bigint;
alter table request_analytics add column budget_reserved_usd decimal(38, 12);
alter table request_analytics add column shadow_policy_id varchar;
alter table request_analytics add column shadow_model varchar;
alter table request_analytics add column prompt_features varchar;
