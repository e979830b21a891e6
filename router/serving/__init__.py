"""Serving: one request's way to an answer and its record.

In comes a `Request`, out goes an answer whose record is on disk. Read in this order:

    parts       what all requests share       funds       the budgets of one request
    admission   limits, decision, reserve     recording   the record, the audit log, the disk
    serving     call, note, settle            streaming   the answer piece by piece
    fallback    retry, or the next model      upstream, assembly   one provider's stream, put together
    loop        callers without a loop
"""
