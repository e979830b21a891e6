-- name: 0016_passing_refusals
-- grain: path
-- unique: path
-- reads:
-- A refusal holds as long as its cause. Files refused by an earlier release are tried again.

alter table pipeline.quarantine add column found_by varchar;
