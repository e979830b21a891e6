"""Sessions: a conversation stays with its model, and keeps its policy and preferences.

Input: the name of a session, and changes. Output: the remembered `Session`. Read `sessions` first: it is
the store of one process. `shared` is the same store for several processes of one machine.
"""
