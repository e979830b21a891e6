"""Notices what a person should hear of: budgets that run out, and traffic that left its usual course.

    usage_hourly, request_analytics, limits.yaml ─► budgets ──► budget_status ─┐
    usage_hourly, request_analytics, models ─► watching ─► anomalies ──────────┴─► alerts ─► webhook

Where to read on:

    budgets     spending in the running period, and its pace
    watching    hours that are new, series and incidents; `metrics` and `detector` hold its mathematics
    alerts      each incident once; `alert_log` keeps them as files
    webhook     signed, to public addresses, again until it worked
"""
