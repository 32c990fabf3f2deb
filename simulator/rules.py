"""Segment rules in Flagsmith's own format, for the operators that the simulated segments use."""

import re
from collections.abc import Callable, Mapping

from flagsmith_warehouse.simulator.bucketing import percentage

Traits = Mapping[str, object]


def is_member(segment: dict, environment_key: str, identity: str, traits: Traits) -> bool:
    """Return whether an identity with these traits is in a segment (`id`, `name`, `rules`: Flagsmith's format).

    Raises ValueError for an operator that the simulator does not know.
    """

    def holds(condition: dict) -> bool:
        if condition["operator"] == "PERCENTAGE_SPLIT":
            return percentage(segment["id"], environment_key, identity) <= float(condition["value"])
        return _matches(condition, traits)

    return all(_rule_holds(rule, holds) for rule in segment["rules"])


def _rule_holds(rule: dict, holds: Callable[[dict], bool]) -> bool:
    conditions = [holds(condition) for condition in rule["conditions"]]
    quantify = {"ALL": all, "ANY": any, "NONE": lambda outcomes: not any(outcomes)}[rule["type"]]
    return (not conditions or quantify(conditions)) and all(
        _rule_holds(inner, holds) for inner in rule["rules"]
    )


def _matches(condition: dict, traits: Traits) -> bool:
    operator, name = condition["operator"], condition["property"]
    if operator in ("IS_SET", "IS_NOT_SET"):
        return (traits.get(name) is not None) == (operator == "IS_SET")
    if operator not in _OPERATORS:
        raise ValueError(f"The simulator has no operator {operator!r}: use one of {', '.join(_OPERATORS)}")
    value = traits.get(name)
    return value is not None and _OPERATORS[operator](value, condition["value"])


def _as_type_of(value: object, text: str) -> object:
    """Convert the condition's text to the trait's type. Raises ValueError if that fails."""
    if isinstance(value, bool):
        return text.lower() in ("true", "1")
    return type(value)(text)


def _semantic(version: str) -> tuple[list[int], bool, str]:
    """Return the sort key of a version: the numbers, then a pre-release before the release."""
    numbers, _, pre_release = version.removesuffix(":semver").partition("-")
    return [int(number) for number in numbers.split(".")], not pre_release, pre_release


def _compare(test: Callable[[object, object], bool]) -> Callable[[object, str], bool]:
    def compare(value: object, text: str) -> bool:
        try:
            if text.endswith(":semver"):
                return test(_semantic(str(value)), _semantic(text))
            return test(value, _as_type_of(value, text))
        except ValueError:
            return False

    return compare


def _modulo(value: object, text: str) -> bool:
    divisor, remainder = text.split("|")
    return isinstance(value, (int, float)) and value % float(divisor) == float(remainder)


_OPERATORS: dict[str, Callable[[object, str], bool]] = {
    "EQUAL": _compare(lambda value, limit: value == limit),
    "NOT_EQUAL": _compare(lambda value, limit: value != limit),
    "GREATER_THAN": _compare(lambda value, limit: value > limit),
    "GREATER_THAN_INCLUSIVE": _compare(lambda value, limit: value >= limit),
    "LESS_THAN": _compare(lambda value, limit: value < limit),
    "LESS_THAN_INCLUSIVE": _compare(lambda value, limit: value <= limit),
    "CONTAINS": lambda value, text: text in str(value),
    "NOT_CONTAINS": lambda value, text: text not in str(value),
    "IN": lambda value, text: str(value) in text.split(","),
    "REGEX": lambda value, text: re.match(text, str(value)) is not None,
    "MODULO": _modulo,
}
