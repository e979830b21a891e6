"""Offline evaluation: the cost and quality that another policy would have had on the recorded traffic.

log         recorded requests as arrays: decisions, their odds and their outcomes
target      the decisions of the other policy on each of them, by the router's own code
estimators  SNIPS and doubly robust estimates with intervals, pure arithmetic
judging     whether judged answers are a fair sample
evaluate    the three together, and when to refuse
what_if     one model in place of the router's choices, from sums that outlive the requests
rollup_sums these sums, read from the published warehouse
savings     the saving in comparison with a baseline, with its interval
wording     differences with their intervals as sentences
"""
