"""HTTP to the endpoints of the IC."""
