"""How commands reach a running gateway."""
