"""The control plane of a gateway with workers: asks them, and merges what they answer."""
