-- name: model_performance_history
-- grain: snapshot_id, task_type, model
-- unique: snapshot_id, task_type, model
-- reads: model_performance_history
-- Put the snapshots of an archived file back that the history does not hold.
insert into model_performance_history by name
select *
from read_parquet($path, hive_partitioning = false)
where snapshot_id not in (select snapshot_id from model_performance_history)
