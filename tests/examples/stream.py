"""An answer word by word. The record is written when the stream ends, however it ends."""

from __future__ import annotations

from router import Request, Router

with Router.open() as router:
    request = Request(messages=[{"role": "user", "content": "Tell me of the sea."}], task_type="chat")
    with router.stream_sync(request) as stream:  # with asyncio: `async with router.stream(request)`
        for event in stream:
            print(event.text, end="", flush=True)
    print()
