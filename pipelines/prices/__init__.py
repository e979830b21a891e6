"""List prices: from a public source to the price book that the router reads.

    source           what genai-prices says, as dated rows
    checks           what makes a price implausible
    book             source and book in force: what becomes a new row, what waits for a person
    refresh          the files `prices/book.json` and `prices/pending.json`
    listing          both files as tables
    price_commands   `intellirouter prices`

The router never imports genai-prices (half a second): it reads the book.
"""
