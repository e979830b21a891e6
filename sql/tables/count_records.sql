-- name: {view}
-- grain: one row
-- unique: one row
-- reads: {table}, pipeline.linked_segments
-- Count of the rows of a view of records, without a look into its files.
select
    (select count(*) from {table})
    + (
        select coalesce(cast(sum(rows) as bigint), 0)
        from pipeline.linked_segments
        where dataset = $dataset
    ) as rows
