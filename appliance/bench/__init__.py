"""The load tool: a stub IC with real certificates, a load generator, and what they measure of a gateway."""
