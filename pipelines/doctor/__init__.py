"""Checks that lake, ledger, warehouse and score files agree.

In: the data folder, read only. Out: findings, errors first, each with advice (`findings`).
Read `doctor` first. `erasure_checks` checks the files of erasures, `config_checks` the history of the
configuration, `mirror_checks` the copy in PostgreSQL, `store_checks` the object store.
"""
