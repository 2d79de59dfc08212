"""WebSocket canisters of all wire generations, in Python."""
