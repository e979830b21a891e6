-- name: 0007_prompt_features
-- grain: id
-- unique: id of request_analytics
-- reads: request_analytics
-- The column that schema version 2 of request_analytics adds, before `segment`, which stays last.

alter table request_analytics rename column segment to segment_before;

alter table request_analytics add column prompt_features varchar;

alter table request_analytics add column segment varchar;

update request_analytics set segment = segment_before;

alter table request_analytics alter column segment set not null;

alter table request_analytics drop column segment_before;
