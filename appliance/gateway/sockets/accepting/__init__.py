"""From a socket of the system to a connection."""
