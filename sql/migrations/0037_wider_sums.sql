-- name: 0037_wider_sums
-- grain: the same as propensity_hourly
-- unique: the same as propensity_hourly
-- reads:
-- One request of 1,000 dollars that was drawn once in a thousand adds 10^18 to a sum: ten would not fit.

alter table propensity_hourly alter column cost_weighted_nano type decimal(38, 0);

alter table propensity_hourly alter column cost_weight_squared_nano type decimal(38, 0);

alter table pipeline.removed_propensity_hourly alter column cost_weighted_nano type decimal(38, 0);

alter table pipeline.removed_propensity_hourly alter column cost_weight_squared_nano type decimal(38, 0);
