"""Translate between OpenAI's chat completions, which are the router's own shape, and other APIs.

    members      reading members of bodies that come from outside
    usage        token counts of every API as one `Usage`
    calls        tool calls, in every spelling       thoughts   reasoning
    mending      chat answers for strict clients
    returned     members that come back next turn    names      names of tools, ids of calls
    anthropic/   Anthropic's messages                responses/   OpenAI's responses API
    gemini/      Google's generateContent            bedrock/     Amazon's Converse

All of it is pure. A member that the other shape cannot express is refused by name or carried along. It
is never dropped in silence:

- A member `anthropic` of a request, a message, a content part, a tool or an answer holds the parts that
  OpenAI's shape cannot express. Its members take precedence over derived ones.
- A content part or a tool `{"type": "anthropic", "anthropic": {…}}` is a whole one of Anthropic's.
- `cache_control` is where Anthropic puts it: on a part, a tool, a tool call or a tool message.

These are exact in both directions: system texts, roles, texts, images by URL and base64, PDF files, tools,
tool calls and results (parallel ones too), tool choice, stop sequences, temperature and `top_p` within
Anthropic's range, the user's id, and JSON schemas. Reasoning effort is close, because a thinking budget
becomes the nearest effort, and exact again when sent to Anthropic. Reasoning of earlier turns without a
signature is not Anthropic's, and is not sent to it.
"""
