"""What a canister is to the replica, and canisters written in Python."""
