"""The engine of the workers of one machine: in their supervisor, at a Unix socket."""
