"""The configuration: its schema, how it is read, planned and kept.

``schema`` has every key; ``load`` and ``source`` read; ``plan`` compares two configurations; ``history`` keeps
revisions; ``watch`` detects changes. ``fields`` has the types of values, ``text`` works on YAML, ``render`` writes
documents.
"""
