"""Connections to the IC for a gateway that has no network of its own: a proxy at a Unix socket."""
