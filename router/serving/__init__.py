"""Serves one request: from the request to an answer and its record.

Input: a `Request`. Output: an answer, after its record is on disk. Read in this order:

    parts       shared by all requests        funds       the budgets of one request
    admission   limits, decision, reserve     recording   the record, the audit log, the disk
    serving     call, note, settle            streaming   the answer piece by piece
    fallback    retry, or the next model      upstream, assembly   one provider's stream, put together
    loop        callers without a loop
"""
