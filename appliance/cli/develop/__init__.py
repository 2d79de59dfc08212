"""Commands for authors of canisters and clients."""
