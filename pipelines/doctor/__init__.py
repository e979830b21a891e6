"""Whether lake, ledger and warehouse say the same."""
