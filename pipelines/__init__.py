"""From records to knowledge: the Dagster half of IntelliRouter.

    lake (sealed segments)
      └─ request_analytics, feedback            defs/load      one ledger row per segment, exactly once
           ├─ task_classifier                         defs/publish  scores/classifier.bin
           └─ usage_hourly, latency_buckets_hourly,   defs/rollups   only the hours the load touched
              quality_blocks_hourly, experiment_hourly
                ├─ experiment_results                       defs/experiments  which variant is better
                ├─ task_cost_daily, usage_by_org_daily      defs/rollups  only the days they touched
                └─ task_model_scores, score_changes         defs/rollups  the router's scoring inputs
                     ├─ published_scores, model_performance_history   defs/publish  scores/current.json
                     └─ models                                        defs/models   the catalog, with prices
                          └─ published_warehouse                      defs/publish  a copy nobody locks

    price_book (prices/)                              defs/prices    public list prices, once a day

The lake is the record, the warehouse a cache of it: `derived` replaces segments by rewritten ones,
`compaction` merges the small ones of finished hours, `doctor` says whether lake, ledger and
warehouse agree, `audit` walks the hash chains. `retention` (by `holds` and `expiry`) and `erasure`
(by `tombstones` and `persons`) take rows out; `removals` does it, `shares` keeps what the rows added
to the rollups. `experiments` and `evaluation` say what other choices are or would have been worth,
by `statistics`.

`scoring` makes the scores: `beliefs` estimates quality, `changes` notes where it moved.

Read `definitions` for the jobs, `refresh` for running them without the Dagster UI, `warehouse` for
the database, `lake` for what is read, `reports` for what people ask. `sql/` holds the statements.
"""
