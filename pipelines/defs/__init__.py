"""The Dagster assets: each calls a step of `pipelines.flow` and shows its result.

In: the locked warehouse (`common`). Out: materialisations with metadata, checks with their failing rows.
Read `load`, `erasures`, `rollups`, `experiments`, `publish` in the order in which data flows. Then read
`retention`, `prices` and `copies`, which have jobs of their own, and `automation` for when the jobs run.
"""
