"""Providers, models and dated prices."""
