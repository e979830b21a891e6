"""Rows past their period leave the lake."""
