"""Polls of canisters: when, from which nonce, and what a reply is worth."""
