"""The page: one document with its script and style, which uses the API and nothing else."""
