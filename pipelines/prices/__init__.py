"""Reads list prices from a public source into the price book that the router reads.

    source           the data of genai-prices, as dated rows
    checks           rules that find implausible prices
    book             compares source and book: new rows, and prices that wait for a person
    refresh          the files `prices/book.json` and `prices/pending.json`
    listing          both files as tables
    price_commands   `intellirouter prices`

The router reads the book, and never imports genai-prices, which takes half a second.
"""
