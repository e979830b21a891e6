-- name: pipeline.quarantine
-- grain: path
-- unique: path
-- reads:
-- One file of the lake that is not read, and why.
insert into pipeline.quarantine (
    path,
    dataset,
    reason,
    fingerprint,
    found_by,
    seen_at
)
values (
    $path,
    $dataset,
    $reason,
    $fingerprint,
    $found_by,
    now()
)
