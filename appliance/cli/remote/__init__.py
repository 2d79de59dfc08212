"""How commands reach the API of a running gateway."""
