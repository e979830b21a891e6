"""The HTTP shim: a connection goes in, and the answer of an endpoint, or an error, comes out.

A request passes these files in order:

    protocol   uvicorn's protocol, with bounds on heads and bodies
    dispatch   path to endpoint, and errors to answers         errors   their shape
    auth       who calls, and what the key allows              guard    bounds on size, depth and number
    http       the request and the answer of an endpoint       api/     the endpoints
    sse        a streamed answer
    observe    recent decisions, counted by `metrics`          health   the report behind `/health`

`shim` holds the parts that endpoints share, and `app` the table of all endpoints. `process/` runs it.

It uses no web framework, because a call costs 11 to 12 µs here, and 17 to 18 µs through Starlette.
"""
