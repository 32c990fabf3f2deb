"""Expected values, and what differs from them."""

import json
import math
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True)
class OneOf:
    """Any of these, where the contract leaves it open."""

    values: tuple


def one_of(*values) -> OneOf:
    return OneOf(values)


ANYTHING = OneOf(())


@dataclass(frozen=True)
class Difference:
    """One thing that differs. `kind` is the column, or that a row is missing, extra or doubled."""

    mart: str
    kind: str
    key: tuple
    expected: Any
    got: Any

    def __str__(self) -> str:
        key = ", ".join(_short(part) for part in self.key)
        return f"{self.mart} · {self.kind} · [{key}] expected {_short(self.expected)} got {_short(self.got)}"


def _short(value: Any) -> str:
    if isinstance(value, OneOf):
        return " or ".join(_short(v) for v in value.values)
    if isinstance(value, date):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return repr(value)[:120]


def same(expected: Any, got: Any) -> bool:
    if isinstance(expected, OneOf):
        return not expected.values or any(same(value, got) for value in expected.values)
    if isinstance(expected, set):
        return isinstance(got, list) and len(got) == len(set(got)) and set(got) == expected
    if isinstance(expected, dict):
        try:
            got = json.loads(got) if isinstance(got, str) else got
        except ValueError:
            return False
        return isinstance(got, dict) and got.keys() == expected.keys() and all(
            same(expected[k], got[k]) and isinstance(expected[k], bool) == isinstance(got[k], bool) for k in got
        )  # fmt: skip
    if isinstance(expected, float) and isinstance(got, int | float) and not isinstance(got, bool):
        return (math.isnan(expected) and math.isnan(got)) or math.isclose(
            expected, got, rel_tol=1e-9, abs_tol=1e-9
        )
    return expected == got


def differences(mart: str, key: tuple[str, ...], expected: list[dict], got: list[dict]) -> list[Difference]:
    """Compare row by row, in the columns that are expected."""
    wanted = {tuple(row[column] for column in key): row for row in expected}
    assert len(wanted) == len(expected), f"the judge has two rows of one key in {mart}"
    built = {tuple(row[column] for column in key): row for row in got}
    found = []
    for k, n in Counter(tuple(row[column] for column in key) for row in got).items():
        if n > 1:
            found.append(Difference(mart, "row doubled", k, 1, n))
    for k, row in wanted.items():
        if k not in built:
            found.append(
                Difference(mart, "row missing", k, {c: v for c, v in row.items() if c not in key}, None)
            )
            continue
        for column, value in row.items():
            if not same(value, built[k].get(column)):
                found.append(Difference(mart, column, k, value, built[k].get(column)))
    for k, row in built.items():
        if k not in wanted:
            found.append(
                Difference(mart, "row extra", k, None, {c: v for c, v in row.items() if c not in key})
            )
    return found
