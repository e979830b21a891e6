"""From records to knowledge: the Dagster half of IntelliRouter.

    lake (sealed segments)
      └─ request_analytics, feedback, request_logs    defs/load         each segment exactly once
           └─ honoured_erasures                       defs/erasures     rows of erased persons go again
                ├─ task_classifier                    defs/publish      scores/classifier.bin
                └─ usage_quarter_hourly, latency_buckets_hourly,
                   quality_blocks_hourly, experiment_hourly,
                   billing_usage, propensity_hourly   defs/rollups      only the hours the load touched
                     ├─ experiment_results            defs/experiments  which variant is better
                     ├─ billing_records, billing_restatements  defs/bills   bills, closed and provisional
                     ├─ savings                       defs/publish      against the baseline, with intervals
                     ├─ task_cost_daily, usage_by_org_daily  defs/rollups  only the days they touched
                     └─ task_model_scores, score_changes,
                        model_versions                defs/rollups      scores for the router
                          ├─ published_scores, model_performance_history  defs/publish  scores/current.json
                          └─ models, model_prices     defs/publish      the catalog, with prices
                               └─ published_warehouse defs/publish      a copy that no refresh locks
                                    └─ postgres_mirror  defs/copies     the same tables in PostgreSQL

    compliance_logs, decision_factors (defs/publish), routing_experiments (defs/experiments): files as tables
    config_versions, routing_configs, organizations and their history (defs/configurations)
    price_book (defs/prices): public list prices, once a day; retained_records (defs/retention)

Five files are at the door. Read `flow` first: it states the refresh, retention and erasure step by step.

    flow          the steps, in order; the assets and the commands run them
    definitions   for Dagster: the assets of `defs/`, jobs, schedules, a sensor
    refresh       the jobs in this process, without the Dagster UI
    cli           the commands          errors   the error tree

The rooms, in the order in which data flows (`sql/` holds the statements):

    lake          the segments, whether to trust them, how they are replaced
    warehouse     the DuckDB build database: loaded once, checked, published as a copy
    rollups       hourly and daily aggregates of hours that a load touched
    scores        from outcomes to the snapshot that the router reads
    billing       what each organisation owes, and closed months
    tasks         the task classifier: training and publishing
    configurations  the history of the configuration, as tables
    experiments   which variant is better; `statistics` has the arithmetic
    evaluation    the cost and quality that another policy would have had
    retention     rows past their period leave        erasure   persons leave, with a certificate
    store         one lake for many hosts, through an object store
    copies        the same tables in PostgreSQL, documents for MongoDB
    reports       questions to the warehouse          doctor    whether everything agrees
    prices        list prices and the price book      replay    the whole loop on recorded outcomes
    importing     logs and configuration of LiteLLM, into a lake of their own

The lake is the record and the warehouse a cache of it: `intellirouter rebuild` makes it again.
"""
