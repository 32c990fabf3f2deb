"""Random choices that are the same on every Python version. Only `random()` is guaranteed not to change."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


class Dice:
    """Dice seeded by a text. The same text gives the same throws."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed).random  # noqa: S311  # a simulation, nothing secret

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def whole(self, low: int, high: int) -> int:
        """Return a whole number, low ≤ n ≤ high."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.random() * len(items))]
