"""Translate between chat completions and Gemini's generateContent. All of it is pure.

    requests    a chat request ─► a request of generateContent
    answers     an answer, or a portion of a stream ─► a completion, or chunks
    embeddings  a request for embeddings ─► a request of batchEmbedContents, and its vectors back

Thoughts are `reasoning_content`. The thought signatures that Gemini demands back are where Google's own
OpenAI endpoint puts them, in the `extra_content` of a tool call.
"""
