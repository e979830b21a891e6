"""Copies for other engines, which follow the published warehouse part by part.

In: the published warehouse. Out: the same tables in PostgreSQL (`MIRROR_URL`), request documents in a file
or in MongoDB, and the lake's segments as Iceberg tables. A part is a segment of a raw table, or a day of any
other table. A copy has a ledger of its parts, so erased, expired and merged rows leave it too. Read in this
order:

    published    the tables of the warehouse, their parts    kinds       their columns in PostgreSQL
    postgres     the connection, and its errors              layout      the copies' tables and grants
    mirror       makes the two sides equal, step by step     remaining   copies that an erasure must name
    documents    request documents, and the parts of them    mongodb     upserts and deletes, resumable
    targets      where documents went                        iceberg     lists of segments for other engines
    copy_commands  `mirror`, `export documents`, `export iceberg`
"""
