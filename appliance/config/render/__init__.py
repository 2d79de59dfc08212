"""The schema as documents: the commented ``gateway.yaml``, tables for the docs and JSON Schema."""
