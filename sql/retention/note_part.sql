-- name: pipeline.archived_parts
-- grain: table_name, day, name
-- unique: table_name, day, name
-- reads: pipeline.archived_parts
-- One archived file that the tables hold, or that is left out because of its problem.
insert into pipeline.archived_parts (table_name, day, name, path, problem)
select
    $table_name as table_name,
    $day as day,
    $name as name,
    $path as path,
    $problem as problem
where
    not exists (
        from pipeline.archived_parts
        where
            table_name = $table_name
            and day = $day
            and name = $name
    )
