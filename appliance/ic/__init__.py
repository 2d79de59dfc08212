"""A client of the Internet Computer: identities, requests and their replies."""
