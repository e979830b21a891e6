"""The HTTP shim: parse, hand to `Router`, serialise, and nothing else."""
