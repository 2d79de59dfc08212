"""The supervisor of the workers of one gateway: starts them, holds their sockets, and speaks for all of them."""
