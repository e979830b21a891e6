-- name: model_performance_history
-- grain: snapshot_id, task_type, model
-- unique: snapshot_id, task_type, model
-- reads: model_performance_history
-- Delete the snapshots $thinned. A busy router publishes one every few seconds; without a bound, history
-- would outgrow the records.
delete from model_performance_history
where snapshot_id in (select unnest($thinned))
