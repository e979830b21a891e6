-- name: report_facts
-- grain: one row
-- unique: snapshot_id
-- reads: pipeline.published, pipeline.retention
-- The score snapshot of the published warehouse, and the moment before which it has no raw rows; NULL without one.
select
    (select arg_max(snapshot_id, published_at) from pipeline.published) as snapshot_id,
    (select max(expired_before) from pipeline.retention) as expired_before
