"""Experiments from the records: which variant is better, and whether the split can be believed.

registry  loads the experiments as their file states them
phases    shares and variants by configuration: a change starts a phase
results   intervals and verdicts of every variant and metric, valid at every look
display   the results as a table
"""
