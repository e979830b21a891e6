-- name: pipeline.retention_cutoffs
-- grain: dataset, expired_before
-- unique: dataset, expired_before
-- reads: pipeline.retention_cutoffs
-- Move the cutoff of $dataset forward to $cutoff.
insert into pipeline.retention_cutoffs (dataset, expired_before)
select
    $dataset as dataset,
    $cutoff as expired_before
where $cutoff > all (select expired_before from pipeline.retention_cutoffs where dataset = $dataset)
