"""Kinds of faults that the gateway does not stand yet, with what goes wrong. Not in the slice that CI runs."""

AWAITING: dict[str, str] = {}
