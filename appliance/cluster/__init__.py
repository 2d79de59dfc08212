"""How several nodes act as one gateway: an engine that they share, and what each does when it is away."""
