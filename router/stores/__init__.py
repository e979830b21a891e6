"""Connections to the servers that hold state for several machines: Redis and PostgreSQL.

In: a URL of the settings. Out: connections that are opened once, wait for a bounded time, and never show
the URL's password. Nothing is imported from a driver before a URL is set, and a missing driver is one line
that names the extra to install. Read in this order:

    redis_connections  Redis, for the request path (limits, sessions)
    database           PostgreSQL, never on the request path
    tables             the tables of configuration and keys
    migrations/        how they came about (Alembic)
    polling            the newest value of a server in memory, and a copy on disk for starts without it
"""
