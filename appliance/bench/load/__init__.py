"""The load generator: WebSocket clients that do little work per message."""
