"""The Internet Computer as a client sees it."""
