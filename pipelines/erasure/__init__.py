"""Persons leave the lake, with a certificate."""
