-- name: 0038_observed_quality
-- grain: task and model
-- unique: task_type, model
-- reads:
-- The mean of a cell's outcomes without shrinkage. The router needs it to tell a model that may be an exception
-- on a task from one whose outcomes there speak against it. NULL until the next refresh.

alter table task_model_scores add column quality_observed double;
