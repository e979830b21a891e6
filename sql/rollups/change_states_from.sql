-- name: pipeline.change_states
-- grain: one series of outcomes at the end of an hour
-- unique: scored_environment, environment, task_type, model_selected, is_drawn, source, next_hour
-- reads: pipeline.change_states
-- Drop what the change detector remembers of the hours from $start on: they are folded again.
delete from pipeline.change_states
where next_hour > cast($start as timestamptz)
