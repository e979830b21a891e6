"""Whether lake, ledger, warehouse and score files agree.

In: the data folder, read only. Out: findings, errors first, each with what to do (`findings`).
Read `doctor` first; `erasure_checks` looks at what erasures left.
"""
