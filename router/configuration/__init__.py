"""The configuration with its history: the documents that people edit, and every version that was in force.

In: the files of the data folder, or another `StateSource`. Out: the documents in force, checked as one
set, and a line in the history for each set that a router, a job or a command saw. Read in this order:

    documents      names, digests, and the hash that records carry
    source         `StateSource`: documents, versions, one atomic change
    folder         a StateSource on the data folder
    database       a StateSource in PostgreSQL
    polled         the same for routers, in memory      copies  its documents as files
    opening        the one that the settings name
    checking       a set of documents, parsed and checked together
    watching       sees a changed set, and adds it to the history
    changing       `apply` and `rollback`          forgetting  an erased person leaves the history
    moving         `push` and `pull` between folder and database
    resolving      from a record's hash to the documents, and the difference of two sets
    commands       `intellirouter config`          backups    `backup` and `restore`
    events         changes as events of the trail
    organizations  organizations.yaml             unlisted   names that it lacks
    retention      retention.yaml
"""
