-- name: pipeline.stale_days
-- grain: mart, day
-- unique: mart, day
-- reads: usage_quarter_hourly
-- After a rebuild, every day of $mart follows the restored rollups.
insert into pipeline.stale_days (mart, day)
select distinct
    $mart as mart,
    cast(quarter_hour as date) as day
from usage_quarter_hourly
