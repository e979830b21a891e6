-- name: thinned_snapshots
-- grain: snapshot_id
-- unique: snapshot_id
-- reads: model_performance_history, pipeline.retention
-- Snapshots that the history does not need: of those published before $often_before the last of each five
-- minutes stays, of those before $hourly_before the last of each hour. Days before retention's cutoff are
-- sealed in the archive as they are, and stay so here.
with
    snapshots as (
        select
            snapshot_id,
            min(as_of) as as_of,
            min(published_at) as published_at
        from model_performance_history
        where as_of >= coalesce((select max(expired_before) from pipeline.retention), timestamptz '-infinity')
        group by snapshot_id
    ),

    ranked as (
        select
            snapshot_id,
            row_number() over (
                partition by
                    published_at < $hourly_before,
                    case
                        when published_at < $hourly_before then date_trunc('hour', published_at)
                        else time_bucket(interval 5 minutes, published_at)
                    end
                order by
                    published_at desc,
                    snapshot_id desc
            ) as place
        from snapshots
        where published_at < $often_before
    )

select snapshot_id
from ranked
where place > 1
order by snapshot_id
