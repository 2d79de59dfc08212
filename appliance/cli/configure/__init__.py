"""Commands that set up a gateway and change its configuration."""
