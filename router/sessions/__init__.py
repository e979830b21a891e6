"""Sessions: a conversation stays with its model, and keeps its policy and preferences.

In comes the name of a session with changes, out comes the `Session` that is remembered. Read `sessions`
first: the store of one process. `shared` is the same store for several processes of one machine.
"""
