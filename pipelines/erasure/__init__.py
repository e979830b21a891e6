"""Erases a person from the data folder, and certifies it.

In: a user id, or the tombstone of an earlier erasure. Out: rewritten segments, a certificate.
Read `erasure` first: it names the steps, which `pipelines.flow` runs.

    tombstones        erased persons, as keyed hashes     persons        finds the rows of a person
    leftovers         damaged and set-aside files         search         looks for the id in all files
    judging           traces and mentions                 text_places    persons in files of text
    config_mentions   files that people edit              certificates   the record of an erasure
"""
