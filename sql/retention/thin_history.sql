-- name: model_performance_history
-- grain: snapshot_id, task_type, model
-- unique: snapshot_id, task_type, model
-- reads: model_performance_history, pipeline.retention
-- Of the snapshots published before $thin_before keep the last of each hour.
-- Days before retention's cutoff are sealed in the archive as they are, and stay so here.
-- A busy router publishes one every few seconds; without a bound, history would outgrow the records.
delete from model_performance_history
where
    published_at < $thin_before
    and as_of >= coalesce((select max(expired_before) from pipeline.retention), timestamptz '-infinity')
    and snapshot_id not in (
        select arg_max(snapshot_id, (published_at, snapshot_id))
        from model_performance_history
        where published_at < $thin_before
        group by date_trunc('hour', published_at)
    )
