"""What ``icws doctor`` looks at: this machine, the network, a canister, and one message of it."""
