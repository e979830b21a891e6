-- name: pipeline.watch_states
-- grain: one series at the end of an hour
-- unique: next_hour, environment, scope, subject, metric
-- reads: pipeline.watch_states
-- Drop every memory of the watch but those at the given ends of hours.
delete from pipeline.watch_states
where next_hour not in (select unnest($ends))
