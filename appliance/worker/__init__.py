"""A worker: a process that serves a part of the clients of one gateway, under a supervisor."""
