"""What an operator sees of a running gateway: metrics, events, drains and traces."""
