"""Who may ask the API for what: tokens, roles, and the record of every change."""
