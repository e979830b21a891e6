"""Prepares the scores that the pipelines learned for decisions.

Input: the published `current.json`. Output: ranked tables with each model's share. Read in this order:

    snapshot  the file          board  one table per task and size of request
    ranking   quality estimates to shares
"""
