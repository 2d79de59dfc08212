"""A local IC on disk."""
