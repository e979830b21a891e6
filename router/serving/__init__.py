"""One request's way: admit, decide, call, record, reply."""
