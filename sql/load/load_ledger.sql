-- name: pipeline.load_ledger
-- grain: dataset, name
-- unique: dataset, name
-- reads:
-- One segment whose rows are in the table, or whose rows have expired.
insert into pipeline.load_ledger (
    dataset,
    name,
    path,
    schema_version,
    sha256,
    rows_in_file,
    rows_loaded,
    first_at,
    last_at,
    loaded_at,
    expired_at,
    replaced_by,
    is_refused
)
values (
    $dataset,
    $name,
    $path,
    $schema_version,
    $sha256,
    $rows_in_file,
    $rows_loaded,
    $first_at,
    $last_at,
    now(),
    $expired_at,
    null,
    $is_refused
)
