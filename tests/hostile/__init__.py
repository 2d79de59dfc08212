"""Hostile clients against a gateway in a process of its own."""
