"""The stub IC: one canister program and real certificates, in a process of its own."""
