"""How commands print: tables, numbers, YAML and JSON."""
