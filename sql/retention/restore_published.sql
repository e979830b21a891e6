-- name: pipeline.published
-- grain: snapshot_id
-- unique: snapshot_id
-- reads: model_performance_history
-- After a rebuild, the snapshots in the history are the published ones.
insert into pipeline.published (snapshot_id, as_of, published_at)
select distinct
    snapshot_id,
    as_of,
    published_at
from model_performance_history
