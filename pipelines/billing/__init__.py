"""Bills: the use and the debt of each organisation in a month, by model, price and service tier.

In: the rollup `billing_usage`, the price book, organizations.yaml. Out: `billing_records`,
`billing_restatements`, closed bills in the lake, files in the FOCUS format.

    accounts       whose bill, and from when until when     list_prices   costs at public prices
    lines          from usage to the lines of bills         closed        closed bills in the lake
    restatements   changes after the fact               records       the tables
    closing        freezes a month                          bill          the answer to `intellirouter bill`
    focus          the FinOps exchange format               bill_commands
"""
