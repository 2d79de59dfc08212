"""Several replicas of one subnet, under conditions such as the mainnet's."""
