-- name: days_to_archive
-- grain: day
-- unique: day
-- reads: usage_quarter_hourly, model_performance_history, pipeline.retention
-- Days before $cutoff whose rollups and history are not sealed in the lake yet.
with
    days as (
        select cast(quarter_hour as date) as day
        from usage_quarter_hourly
        where quarter_hour < $cutoff
        union
        select cast(as_of as date) as day
        from model_performance_history
        where as_of < $cutoff
    )

select day
from days
where day >= coalesce((select max(cast(expired_before as date)) from pipeline.retention), date '0001-01-01')
order by day
