"""Connections to the servers that hold state for several machines: Redis and PostgreSQL.

In: a URL of the settings. Out: connections that are opened once, wait for a bounded time, and never show
the URL's password. `redis_connections` is for the request path (limits, sessions). Nothing is imported
from a driver before a URL is set, and a missing driver is one line that names the extra to install.
"""
