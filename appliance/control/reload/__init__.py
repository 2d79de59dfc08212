"""The one way to another configuration while the gateway runs."""
