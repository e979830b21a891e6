-- name: recorded_price_ids
-- grain: price_id
-- unique: price_id
-- reads: request_analytics
-- Which of $price_ids records name: ids of an earlier release, which named no content.
select distinct price_id
from request_analytics
where price_id in (select unnest($price_ids))
