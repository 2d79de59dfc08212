"""The Autobahn test suite against the listener: ``python -m tests.autobahn``."""
