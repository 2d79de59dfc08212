"""Fuzzing of the decoders of the native core: ``python -m tests.fuzz``."""
