"""Policies: what a decision optimises, and which experiment a request is in.

In come policies.yaml and experiments.yaml, out go the `Policy` of a request and its `Assignment`.
Read in this order:

    policy       goals, bounds, and whose policy it is
    experiments  the entries of experiments.yaml
    assignment   loads them, and gives a request its variant
"""
