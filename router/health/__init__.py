"""Health: the models that failed of late and are left out.

In comes the outcome of each call. Out go the `Ejections` that a decision reads.
Read `breaker`: it counts failures, ejects a model for a while, and lets one request try it again.
"""
