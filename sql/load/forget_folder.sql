-- name: pipeline.settled_folders
-- grain: folder
-- unique: folder
-- reads: pipeline.settled_folders
-- Forget what an hour folder looked like.
delete from pipeline.settled_folders
where folder = $folder
