"""Sessions: a conversation stays with its model, and keeps its policy and preferences.

Input: the name of a session, and changes. Output: the remembered `Session`. Read `sessions` first: the
session, and the store in memory. `shared` is the file of the data folder, which outlives a restart and is
shared by the processes of a machine. `restoring` fills it from the records where it is missing. `remote`
is Redis, for several machines. `opening` picks the store, and `packing` turns a session into JSON. `usage`
adds up the cost and the tokens of a session's records, and `records_index` finds them in the lake.
"""
