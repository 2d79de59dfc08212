"""Random numbers that a seed and a purpose decide, so that they do not depend on the order in which they are drawn."""

from hashlib import blake2b

Span = tuple[float, float]
"""The least and the greatest value."""


class Draws:
    """Equal seeds give equal numbers for equal purposes, in every run and on every machine."""

    def __init__(self, seed: bytes) -> None:
        self._seed = blake2b(seed, digest_size=32).digest()

    def fraction(self, *purpose: object) -> float:
        """A number from 0 to below 1."""
        digest = blake2b(repr(purpose).encode(), digest_size=8, key=self._seed).digest()
        return int.from_bytes(digest, "big") / 2**64

    def uniform(self, span: Span, *purpose: object) -> float:
        """A number within the span."""
        low, high = span
        return low if low == high else low + (high - low) * self.fraction(*purpose)

    def index(self, count: int, *purpose: object) -> int:
        """A number from 0 to below ``count``."""
        return int(self.fraction(*purpose) * count)
