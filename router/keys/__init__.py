"""Virtual keys: permission to call the HTTP server, and a record of every change to them.

In: `keys.json` or PostgreSQL, and the commands `intellirouter keys`. Out: the `Caller` of a request's key,
and `compliance_logs.jsonl`. Read `keys` (the file and the check of a key), then `changes` (create, rotate,
revoke), `database` (keys for several machines), `opening` (the file or the database), `audit_trail` (the
event of each change) and `commands` (the command line).
"""
