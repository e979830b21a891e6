"""The two ends of the graph, which Dagster does not run: the router that writes, and the router that reads.

They are the same router. A graph has no circle, so the loop ends in a second node.
"""

from __future__ import annotations

import dagster as dg

ROUTER = dg.AssetSpec(
    "router",
    deps=["documents"],
    group_name="serving",
    kinds={"python"},
    description="Serves requests: chooses a model, calls it, and appends a record before it replies.",
)
JOURNAL = dg.AssetSpec(
    "journal",
    deps=["router"],
    group_name="serving",
    kinds={"file"},
    description="`journal/`: the records of each router in order, on disk before their replies.",
)
LAKE = dg.AssetSpec(
    "lake",
    deps=["journal"],
    group_name="serving",
    kinds={"parquet"},
    description="`lake/`: sealed Parquet segments with a manifest each. Every table can be built from them.",
)
DOCUMENTS = dg.AssetSpec(
    "documents",
    group_name="serving",
    kinds={"yaml"},
    description="The files that people edit: catalog, policies, limits, organisations and more.",
)
NEXT_DECISIONS = dg.AssetSpec(
    "next_decisions",
    deps=["published_scores", "task_classifier", "published_usage"],
    group_name="loop",
    kinds={"python"},
    description="The loop closes: the router reads the published scores, and chooses by them from then on.",
)
OUTSIDE = (ROUTER, JOURNAL, LAKE, DOCUMENTS, NEXT_DECISIONS)
