"""Providers, models and dated prices.

In: `catalog.yaml` and the price book (`prices/book.json`) of the data folder. Out: an immutable `Catalog`,
which the router replaces when the file changes. Read `catalog`, then `entries` and `price_entries` (the
file as people write it), `prices` (the cost of a usage) and `price_book` (list prices). `example.yaml` is
the catalog that `intellirouter init` writes.
"""
