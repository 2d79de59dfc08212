"""``gateway.yaml`` as text: YAML with places, edits that keep comments, and values as people write them."""
