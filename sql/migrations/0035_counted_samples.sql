-- name: 0035_counted_samples
-- grain: dataset and segment
-- unique: dataset, name
-- reads:
-- The samples for the task classifier in each file that views read. They are counted once, so that a refresh
-- does not read all files to see whether enough is new. NULL: not counted yet, or a dataset without samples.

alter table pipeline.linked_segments add column samples bigint;

alter table pipeline.linked_segments add column last_sample_at timestamptz;
