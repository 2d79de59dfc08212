"""Gateway that holds WebSockets for canisters of the Internet Computer."""
