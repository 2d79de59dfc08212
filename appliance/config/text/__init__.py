"""``gateway.yaml`` as text: YAML with places, edits that keep comments, and values in the notation of the file."""
