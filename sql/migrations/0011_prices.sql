-- name: 0011_prices
-- grain: one row per dated price
-- unique: price_id
-- reads:
-- What a price row says beyond its plain rates, and rows without a rate for output.

alter table model_prices alter column output_usd_per_mtok drop not null;
alter table model_prices add column cache_write_1h_usd_per_mtok decimal(38, 12);
alter table model_prices add column reasoning_usd_per_mtok decimal(38, 12);
alter table model_prices add column request_usd decimal(38, 12);
alter table model_prices add column tiers json;
alter table model_prices add column windows json;
