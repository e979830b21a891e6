"""Decides which model serves a request, and why. Pure: it reads memory and gets its random number passed in.

Input: a `Request`, its `Demand` and a `Moment`. Output: a `Decision`. Read in this order:

    knowledge     everything a decision reads, and the decision
    eligibility   models that cannot serve, and why
    plan          the candidates of equal requests, and the draw among them
    explanations  the reasons, from the record only
    state         catalog, policies and experiments, loaded together
    refresh       the thread that renews the knowledge
"""
