"""Experiments from the records: `registry` loads their file, `results` says which variant is better."""
