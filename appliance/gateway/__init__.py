"""The data plane: sockets, clients, relays and polls."""
