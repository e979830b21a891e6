"""Decision: which model serves a request, and why. Pure: it reads memory, and chance is handed in.

In come a `Request`, its `Demand` and a `Moment`, out goes a `Decision`. Read in this order:

    knowledge     everything a decision reads, and the decision
    eligibility   who cannot serve, and why
    plan          the candidates of equal requests, and the draw among them
    explanations  why, from the record only
    state         catalog, policies and experiments, loaded together
    refresh       the thread that renews the knowledge
"""
