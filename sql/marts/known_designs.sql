-- name: known_designs
-- grain: config_hash
-- unique: config_hash
-- reads: pipeline.experiment_designs
-- The configurations whose designs are noted.
select distinct config_hash
from pipeline.experiment_designs
