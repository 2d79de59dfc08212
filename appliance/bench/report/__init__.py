"""Results as JSON, as a table, as an HTML page, and compared with earlier ones."""
