-- name: first_difference
-- grain: one row
-- unique: one row
-- reads: {table}
-- The first record in which the file of the segment $name differs from the rows loaded of it, and how.
-- A record whose id was loaded from another segment is not a difference: the table has it there.
with
    known as (
        select {key} as id
        from {table}
    ),

    loaded_rows as (
        select {as_in_file}
        from {table}
        where segment = $name
    ),

    loaded as (
        select
            {key} as id,
            {moment} as moment,
            row({columns}) as content
        from loaded_rows
    ),

    found as (
        select
            {key} as id,
            {moment} as moment,
            row({columns}) as content
        from (
            select {as_loaded}
            from {file}
        )
    ),

    differences as (
        select
            id,
            moment,
            'was removed' as difference
        from loaded
        where id not in (select id from found where id is not null)

        union all

        select
            id,
            moment,
            'was changed' as difference
        from loaded
        where
            id in (select id from found)
            and not exists (
                from found
                where found.id = loaded.id and found.content is not distinct from loaded.content
            )

        union all

        select
            id,
            moment,
            'was added' as difference
        from found
        where id is null or id not in (select id from known)
    )

select
    id,
    difference
from differences
order by
    moment,
    id,
    difference
limit 1
