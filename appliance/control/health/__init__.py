"""Whether the gateway is alive and ready, and how systemd learns of it."""
