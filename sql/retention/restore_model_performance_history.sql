-- name: model_performance_history
-- grain: the same as model_performance_history
-- unique: the same as model_performance_history
-- reads:
-- Put an archived day back.
insert into model_performance_history by name
select *
from read_parquet($path, hive_partitioning = false)
