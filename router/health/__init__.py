"""Health: the models that failed of late and are left out.

In comes the outcome of each call, out go the `Ejections` that a decision reads: see `breaker`.
"""
