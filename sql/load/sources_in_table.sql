-- name: pipeline.load_ledger
-- grain: one row
-- unique: one row
-- reads: pipeline.load_ledger, pipeline.linked_segments
-- Count of the segments $names of $dataset whose rows are their own and are not read in their files.
select count(*) as segments
from pipeline.load_ledger
where
    dataset = $dataset
    and name in (select unnest($names))
    and replaced_by is null
    and rows_in_file > 0
    and name not in (select name from pipeline.linked_segments where dataset = $dataset)
