"""The task classifier.

In: labelled requests of the warehouse. Out: `scores/classifier.bin`, while it beats rules and default.
Read `classifier` (its life), then `training` (the arithmetic).
"""
