"""HTTP without operations: the server, JSON, and problem details."""
