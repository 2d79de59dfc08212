"""The management canister."""
