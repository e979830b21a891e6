"""Processes that serve the port: settings go in, and an exit code comes out when serving ends.

    serve           one process, or a supervisor, as WORKERS decides
    uvicorn_server  uvicorn, set up for the shim and for an orderly stop
    supervisor      starts, replaces and stops workers             worker   one of them
    group           the reports that workers share, so that each can answer for all

Read `serve` first. With one worker only `serve` and `uvicorn_server` run.
"""
