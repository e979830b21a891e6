-- name: pipeline.change_states
-- grain: one series of outcomes at the end of an hour
-- unique: scored_environment, environment, task_type, model_selected, is_drawn, source, next_hour
-- reads: pipeline.change_states
-- Drop every memory of the change detector but those of one environment at the given ends of hours.
delete from pipeline.change_states
where
    scored_environment <> $environment
    or next_hour not in (select unnest($ends))
