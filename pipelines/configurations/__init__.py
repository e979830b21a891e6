"""The history of the configuration as tables with validity: which documents, policies and models when.

In: the versions and documents of a `StateSource`. Out: `config_versions`, `config_documents`,
`routing_configs`, `models_history`, `organizations` and `organizations_history`. A rebuild makes them
again, since the history is not in the warehouse. Read in this order:

    periods     rows that last while their content does not change
    entries     the rows of one version, by table
    history     adds the versions that the tables lack
"""
