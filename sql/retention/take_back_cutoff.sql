-- name: pipeline.retention
-- grain: expired_before
-- unique: expired_before
-- reads:
-- A cutoff after $now was set under a wrong clock: it becomes $cutoff.
update pipeline.retention
set expired_before = $cutoff
where expired_before > $now
