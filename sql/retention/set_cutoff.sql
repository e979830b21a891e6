-- name: pipeline.retention
-- grain: expired_before
-- unique: expired_before
-- reads: pipeline.retention
-- Move the cutoff of requests forward to $cutoff.
insert into pipeline.retention (expired_before)
select $cutoff as expired_before
where $cutoff > all (select expired_before from pipeline.retention)
