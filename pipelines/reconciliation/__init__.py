"""Compares providers' bills with the recorded requests.

In: a usage or cost export. Out: by day, model, tier and kind of token what each side says, and one cause of
each difference, out of a closed list. Read it in this order:

    bills, exports       a file of any provider as lines of one form
    ours, rates, names   the recorded requests of the same days, by kind of token
    sides, ledger        the sums of one side; the parts of the result
    cells                price and tokens of one group or request
    requests, groups     requests by the provider's id; else groups that moved, and what is missing
    reconcile            all of it for one file
    store                results in the lake and the warehouse
    provider_costs       the cost that providers report, without any file
    restating            what past requests would have cost at another price
"""
