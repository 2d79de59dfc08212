"""Polls that the nodes share: one asks a canister for all of them."""
