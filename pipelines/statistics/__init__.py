"""Statistics that stay right however often you look at them: closed forms, no dependency.

sequences     confidence sequences around means and rates
sample_ratio  whether variants got the shares of traffic that were planned
clusters      how much the requests of one user or session resemble each other
"""
