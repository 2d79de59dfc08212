"""Who may be known to which canister, kept at the engine, so that others can speak for a node that died."""
