"""Offline evaluation: what another policy would have cost and scored on the recorded traffic.

log         recorded requests as arrays: what was decided, with which odds, and what came of it
target      what the other policy would have decided in each of them, by the router's own code
estimators  SNIPS and doubly robust estimates with intervals; pure arithmetic
evaluate    the three together, and when to refuse
"""
