"""Translate between OpenAI's chat completions and Anthropic's messages. All of it is pure.

    requests_in   Anthropic request ─► OpenAI request      requests_out  OpenAI request ─► Anthropic request
    contents      texts, images, files and tool results, for both
    answers       answers, both ways                       streams       streams, both ways
    thinking      reasoning effort as a thinking budget    portable      a request for every other provider

Read `requests_in` first, because every other file takes its shape of a request.
"""
