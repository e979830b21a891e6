-- name: kept_snapshots
-- grain: snapshot_id
-- unique: snapshot_id
-- reads: model_performance_history
-- Snapshots whose score files a rebuild needs: those in the history from $start on, without $thinned.
-- Older ones are in the lake's archive.
select snapshot_id
from model_performance_history
where
    as_of >= $start
    and snapshot_id not in (select unnest($thinned))
group by snapshot_id
