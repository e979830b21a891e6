"""Policies: the goals of a decision, and the experiment that a request is in.

Input: policies.yaml and experiments.yaml. Output: the `Policy` of a request and its `Assignment`.
Read in this order:

    policy       goals, bounds, and the assignment of policies
    experiments  the entries of experiments.yaml
    assignment   loads them, and gives a request its variant
"""
