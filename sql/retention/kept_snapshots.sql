-- name: kept_snapshots
-- grain: snapshot_id
-- unique: snapshot_id
-- reads: model_performance_history
-- Snapshots whose score files a rebuild needs: those in the history from $start on, once it is thinned
-- as of $thin_before. Older ones are in the lake's archive.
select snapshot_id
from model_performance_history
where
    as_of >= $start
    and (
        published_at >= $thin_before
        or snapshot_id in (
            select arg_max(snapshot_id, (published_at, snapshot_id))
            from model_performance_history
            where published_at < $thin_before
            group by date_trunc('hour', published_at)
        )
    )
group by snapshot_id
