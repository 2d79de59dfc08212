"""What one node asks another, through an engine that may delay, lose, repeat and lie, and cannot ask itself."""
