"""Health: leaves out the models that failed recently.

Input: the outcome of each call. Output: the `Ejections` that a decision reads.
Read `breaker`: it counts failures, ejects a model for a while, and lets one request try it again.
`news` exchanges ejections with other routers over Redis.
"""
