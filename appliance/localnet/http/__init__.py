"""The HTTP interface of the local IC."""
