-- name: {schema}.copied_parts
-- grain: table_name, part
-- unique: table_name, part
-- reads: 
-- Note parts, given as a JSON array of [part, rows, digest].
insert into {schema}.copied_parts (table_name, part, rows, digest, copied_at)
select
    $1,
    item ->> 0,
    cast(item ->> 1 as bigint),
    item ->> 2,
    now()
from jsonb_array_elements(cast($2 as jsonb)) as item
on conflict (table_name, part) do update set
    rows = excluded.rows,
    digest = excluded.digest,
    copied_at = excluded.copied_at
