"""Between OpenAI's chat completions, the router's own shape, and the two other APIs.

    members      reading members of bodies that come from outside
    usage        token counts of every API as one `Usage`
    anthropic/   Anthropic's messages      responses/   OpenAI's responses API

All of it is pure. What the other shape cannot say is refused by name or carried along, never dropped
in silence:

- A member `anthropic` of a request, a message, a content part, a tool or an answer holds what
  OpenAI's shape has no place for. Its members stand above what would be derived.
- A content part or a tool `{"type": "anthropic", "anthropic": {…}}` is one of Anthropic's, whole.
- `cache_control` stands where Anthropic puts it: on a part, a tool, a tool call or a tool message.

Exact in both directions: system texts, roles, texts, images by URL and base64, PDF files, tools, tool
calls and results (parallel ones too), tool choice, stop sequences, temperature and `top_p` within
Anthropic's range, the user's id, JSON schemas. Close, and exact again when sent to Anthropic:
reasoning effort (a thinking budget becomes the nearest effort). Reasoning of earlier turns that
carries no signature is not Anthropic's, and is not sent to it.
"""
