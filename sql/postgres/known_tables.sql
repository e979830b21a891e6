-- name: {schema}.copied_tables
-- grain: table_name
-- unique: table_name
-- reads: {schema}.copied_tables
-- The tables that the mirror made.
select
    table_name,
    cast(columns as text) as columns
from {schema}.copied_tables
