"""Translate between OpenAI's responses API and chat completions. All of it is pure.

    requests   a request of the responses API ─► a chat request, and the members that chat cannot express
    answers    answers, both ways
    streams    streams, both ways

Read them in this order.
"""
