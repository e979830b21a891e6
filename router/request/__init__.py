"""Requests and responses, as callers see them.

Input: messages, parameters and labels. Output: a checked `Request` and its `Demand`. Read in this order:

    request      chat: `Request` and `Response`      decision     `Decision`: the model and why
    demand       its measures, taken once            preferences  wishes of one request
    embeddings   vectors, which do not mix           feedback     judgements of an answer
    arms         parameters of a catalog entry
    responses    OpenAI's responses API              messages     Anthropic's messages API
"""
