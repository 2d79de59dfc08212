"""The certified state of the local IC: its keys, clock, tree and request statuses."""
