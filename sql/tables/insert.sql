-- name: {table}
-- grain: the same as {table}
-- unique: the same as {table}
-- reads:
-- Insert rows whose columns are bound by name, each as the list of its values.
insert into {table} (
    {columns}
)
select
    {values}
