"""Sessions: the protocol of one connection as a state machine without I/O."""
