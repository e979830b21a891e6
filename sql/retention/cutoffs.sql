-- name: cutoffs
-- grain: dataset
-- unique: dataset
-- reads: pipeline.retention_cutoffs
-- Latest cutoff of each dataset.
select
    dataset,
    max(expired_before) as expired_before
from pipeline.retention_cutoffs
group by dataset
