-- name: pipeline.settled_folders
-- grain: folder
-- unique: folder
-- reads:
-- One hour folder whose every file is loaded.
insert into pipeline.settled_folders (
    folder,
    changed_ns
)
values (
    $folder,
    $changed_ns
)
