"""The checks of ``icws doctor``: of this machine, the network, a canister, and one of its messages."""
