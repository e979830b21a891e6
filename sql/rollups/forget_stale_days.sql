-- name: pipeline.stale_days
-- grain: mart, day
-- unique: mart, day
-- reads: pipeline.stale_days
-- The days of $mart from $start to $end agree with their hours again.
delete from pipeline.stale_days
where
    mart = $mart
    and day >= cast($start as date)
    and day < cast($end as date)
