"""The sessions of a client without I/O: bytes and time in, events out; one class for each wire generation."""
