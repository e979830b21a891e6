"""Cells for Jupyter or VS Code: tables of cost and quality. Run `intellirouter refresh` before."""

# %% Open the published warehouse. You never wait for a writer, and you never block one.
from __future__ import annotations

import altair
import duckdb

from router.config import Settings

settings = Settings.load()
warehouse = duckdb.connect(str(settings.warehouse_file), read_only=True)

# %% Which model is worth its money on which task? A polars table, which Jupyter draws.
scores = warehouse.sql(
    """
    select task_type, model, requests, quality_mean, cost_usd_mean
    from task_model_scores where task_type <> '*' and requests > 0
    order by task_type, quality_mean desc nulls last
    """
).pl()
print(scores)

# %% What does each task cost a day?
daily = warehouse.sql(
    """
    select cast(timestamp as date) as day, task_type, sum(cost_usd) as cost_usd,
           count(*) - count(cost_usd) as requests_without_cost
    from request_analytics group by all order by all
    """
).pl()
print(daily)

# %% The same as a chart, with the extra `reports`. Jupyter draws the last value of a cell.
altair.Chart(daily).mark_bar().encode(x="day:T", y="cost_usd:Q", color="task_type:N")
