"""``icws demo --nodes``: several gateways as one, of which one is killed, and their engine too."""
