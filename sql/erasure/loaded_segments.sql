-- name: loaded_segments
-- grain: name
-- unique: name
-- reads: pipeline.load_ledger
-- Segments whose rows were loaded, of every dataset.
select name
from pipeline.load_ledger
