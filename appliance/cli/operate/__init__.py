"""Commands that run a gateway, show it and act on it."""
