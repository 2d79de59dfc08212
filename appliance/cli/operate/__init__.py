"""Commands that run, inspect and control a gateway."""
