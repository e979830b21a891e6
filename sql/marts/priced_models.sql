-- name: priced_models
-- grain: id
-- unique: id
-- reads: models
-- The models whose price is known, the dearest first, by the price of a token in and one out.
select id
from models
where
    input_price_per_1k is not null
    and output_price_per_1k is not null
order by
    input_price_per_1k + output_price_per_1k desc,
    id
