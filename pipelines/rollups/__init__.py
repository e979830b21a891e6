"""Hourly and daily aggregates of what a load touched."""
