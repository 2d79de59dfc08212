"""Polls canisters: when, from which nonce, and what a reply means."""
