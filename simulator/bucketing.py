"""Flagsmith's md5 rule, which assigns an identity to a share (tests compare it with captured answers)."""

from collections.abc import Sequence
from hashlib import md5


def percentage(object_id: int, environment_key: str, identifier: str) -> float:
    """Return the bucket of an identity, 0 ≤ p < 100: it never changes for the same flag (or segment) id."""
    once = f"{object_id},{environment_key}_{identifier}"
    text = once
    while (bucket := _bucket(text)) == 100:
        text += f",{once}"
    return bucket


def _bucket(text: str) -> float:
    return int(md5(text.encode(), usedforsecurity=False).hexdigest(), 16) % 9999 / 9998 * 100


def choose(weights: Sequence[float], bucket: float) -> int | None:
    """Return the place of the option that holds the bucket, in the order of option ids; None is control."""
    limit = 0.0
    for position, weight in enumerate(weights):
        limit += weight
        if bucket < limit:
            return position
    return None
