"""The endpoints: a handler takes the shim and an HTTP request, and gives an answer.

    chat  responses  embeddings  messages    the four APIs that are routed and recorded
    operations                               endpoints that call no provider
    labels                                   our headers and labels, which the four share
    endpoints  openapi  schemas              one row an endpoint, and the document made from the rows

Read `chat` first. The other three differ only in their shapes. The table itself is in `server/app`.
"""
