"""The page of the local IC."""
