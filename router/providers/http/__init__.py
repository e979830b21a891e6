"""HTTP/1.1 to providers: pool, connection and parser."""
