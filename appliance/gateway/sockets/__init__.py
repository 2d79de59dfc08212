"""Sockets of clients: listeners, the HTTP upgrade, WebSocket frames, timers and the close."""
