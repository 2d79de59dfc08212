"""Rate limits of connections and messages."""
