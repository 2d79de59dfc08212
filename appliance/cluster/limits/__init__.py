"""Limits that all nodes of a cluster count together."""
