"""The embedded local IC."""
