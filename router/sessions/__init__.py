"""Conversations that stay with their model."""
