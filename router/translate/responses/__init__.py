"""OpenAI's responses API and chat completions, each as the other. All of it is pure.

    requests   a request of the responses API ─► a chat request, and which members chat cannot express
    answers    answers, both ways
    streams    streams, both ways

Read them in this order.
"""
