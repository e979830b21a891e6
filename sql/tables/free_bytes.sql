-- name: pragma_database_size
-- grain: one row
-- unique: one row
-- reads:
-- Bytes of the database's file, and those of them that hold nothing.
select
    block_size * total_blocks as bytes,
    block_size * free_blocks as free_bytes
from pragma_database_size()
where database_name = current_database()
