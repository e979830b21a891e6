"""Reads the exports of providers into a `Bill`.

    files        CSV, JSON, JSON lines and Parquet as rows of names and values
    values       numbers, moments, currencies and models of a row, with errors that name the remedy
    openai       usage and costs of OpenAI's admin API, and the CSV files of its dashboard
    anthropic    usage and cost reports of Anthropic's admin API, and the CSV files of its console
    openrouter   activity and generations of OpenRouter
    focus        FOCUS 1.x, of any provider
    columns      any other file, by a mapping of its columns
    reading      chooses one of them, and completes the bill

Each shape is a function from a row to its lines. Each refuses what it cannot read with the columns it found.
"""
