"""What a node claims at the engine, and in which order: by the time that the engine has."""
