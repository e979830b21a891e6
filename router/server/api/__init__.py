"""The endpoints: HTTP to requests, responses to HTTP."""
