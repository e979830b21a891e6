"""Reads the answers and errors of any provider, in whatever spelling they come.

In: the bytes and events of a provider. Out: JSON, what an error says, and whether an answer is whole. Read
`texts` (JSON as lenient as the official clients), then `refusals` (errors) and `endings` (finish reasons).
"""
