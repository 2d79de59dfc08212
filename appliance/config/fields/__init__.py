"""Types of the values of ``gateway.yaml``: how each is written, checked, and applied by a reload."""
