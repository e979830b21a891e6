"""The DuckDB build database: loaded once, checked, published as a copy.

In: trusted segments, catalog, trail of changes. Out: tables, and the copy that people query.
Read in this order:

    warehouse    the locked database, its migrations    sqlfiles      the statements in `sql/`
    loading      segments to rows, exactly once         quarantine    files that are not read
    columns      the tables' columns by the contract    checks        statements that find wrong rows
    registry     catalog.yaml as tables                 compliance    the trail of changes as a table
    publishing   the copy that people query             pending       segments that wait in the lake
    archive      rollups without their raw rows         history       published scores, after a rebuild
    factors      weights of each configuration
    differences  the first changed record of a file     ranges        hours and days in ranges
    linked       rows that are read in files        linked_views  the views that show them
    cutoffs      takes back a cutoff of the future  thinning      bounds the history of scores
    advance      how far a long part is
"""
