-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Insert rows whose columns are bound by name.
insert into {table} (
    {columns}
)
values (
    {values}
)
