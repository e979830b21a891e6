"""Scores: what the pipelines learned, ready for a choice.

In comes the published `current.json`, out go ranked tables with each model's share. Read in this order:

    snapshot  the file          board  one table per task and size of request
    ranking   from quality estimates to shares
"""
