"""Providers: a chat completion in OpenAI's shape goes in, an `Answer` or a stream of chunks comes out.

Every failure is a ProviderError that says whether another try may help. Read in this order:

    base        `Provider`, the seam, and the error of each HTTP status
    openai      any server of OpenAI's chat completions: one call, one stream, its errors
    apis        OpenAI's responses and embeddings       azure      the same bodies at other addresses
    anthropic   Anthropic's messages                    bedrock    Amazon's Converse
    gemini      Google's generateContent                key_ring   the keys of one provider
    registry    `Providers`, those of a catalog         http/      the HTTP client below them
    fake/       a provider for tests, demo and replay

To add a provider of another wire format, subclass OpenAIProvider and name its kind in `registry`.
"""
