"""Finds out whom a body is about. A body can be any bytes; functions here raise nothing but ValueError."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import unquote, unquote_plus

EVALUATION = {"flags", "identity", "segments", "traits"}
CHANGE = {"data", "event_type"}
# A shorter name occurs in many texts by chance, so we look for it only where a body says whom it is about.
SHORTEST_LONG_NAME = 8
# Where a text says whom it is about: in JSON, and in the sentences of Flagsmith's audit log.
NAMING = re.compile(
    r""""[^"\\]{0,40}identi[^"\\]{0,40}"\s*:\s*"((?:[^"\\]|\\.)*)"|\bidentity\s+['"]([^'"]*)['"]""",
    re.IGNORECASE,
)
ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# Base64 of eight bytes has eleven characters; + and / are - and _ in addresses.
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}")
GOES_BEFORE, GOES_BEHIND = re.compile(r"\w[.@+-]?$"), re.compile(r"[.@+-]?\w")
# How deep encodings may be nested, and limits on the work for any body.
DEEPEST, MOST_READINGS, MOST_CHARACTERS = 3, 100, 50_000_000


class Person(Protocol):
    """A person to look for: by name, as `erase` does, or by the hash of a name, as tombstones do."""

    def is_called(self, name: str) -> bool:
        """True if that is the person's name."""

    def stands_in(self, text: str, as_word: bool) -> bool:
        """True if the name is long and the text contains it. `as_word`: not as part of a longer word."""


def parse(body: bytes) -> object:
    """The parsed body, if every JSON reader would parse it alike.

    Raises ValueError if not: another encoding than UTF-8, a key twice in one object, NaN, nested too deep, …
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def is_evaluation(value: object) -> bool:
    """True for the body of an identity webhook."""
    return isinstance(value, dict) and value.keys() <= EVALUATION and isinstance(value.get("identity"), str)


def is_change(value: object) -> bool:
    """True for the body of an environment or audit-log webhook."""
    return (
        isinstance(value, dict)
        and value.keys() <= CHANGE
        and isinstance(value.get("data"), dict)
        and isinstance(value.get("event_type"), str)
    )


def is_about(body: bytes, person: Person) -> bool:
    """True if the body is about the person.

    An evaluation is about its identity, whatever else it says. Any other body is about everybody it names,
    in any form: escaped as JSON, percent-encoded, in base64, in UTF-16.
    """
    try:
        value = parse(body)
    except ValueError:
        value = None
    if is_evaluation(value):
        return person.is_called(value["identity"])
    whole_words = is_change(value)  # a change also concerns others; an unreadable body does not
    return any(is_named_in(text, person, whole_words and is_plain) for text, is_plain in readings(body))


def is_named_in(text: str, person: Person, as_word: bool) -> bool:
    """True if a text that is not an evaluation names the person."""
    return any(map(person.is_called, names_in(text))) or person.stands_in(text, as_word)


def names_in(text: str) -> Iterator[str]:
    """The names in a text that the text itself calls identities."""
    for in_json, in_sentence in NAMING.findall(text):
        yield unescaped(in_json) or in_sentence


def readings(body: bytes) -> Iterator[tuple[str, bool]]:
    """All texts that a body contains in any encoding. For each: True if it is there as it is, or escaped as JSON."""
    seen: set[str] = set()
    waiting = [(text, 0, True) for text in _texts(body)]
    characters = 0
    for text, depth, is_plain in waiting:  # the list grows during the loop
        if text in seen:
            continue
        seen.add(text)
        yield text, is_plain
        characters += len(text)
        if depth < DEEPEST and len(seen) < MOST_READINGS and characters < MOST_CHARACTERS:
            waiting.append((unescaped(text), depth + 1, is_plain))
            waiting += [(each, depth + 1, False) for each in _decoded(text)]


def unescaped(text: str) -> str:
    """The text with JSON's escapes replaced, even if it is not complete JSON."""
    if "\\" not in text:
        return text
    plain = ESCAPES.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else ESCAPED.get(found[2], found[2]), text
    )
    # Two halves of a character become one character; a single half stays.
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def is_word(text: str, start: int, end: int) -> bool:
    """True unless the match is part of a longer name, like ada@example.com in x.ada@example.com.au."""
    return not (GOES_BEFORE.search(text[max(start - 2, 0) : start]) or GOES_BEHIND.match(text[end : end + 2]))


def base64_of(text: bytes) -> Iterator[str]:
    """The base64 of the text at each position in a longer text: only the characters that come from this text alone."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text).decode().rstrip("=")
        end = len(encoded) - bool((before + len(text)) % 3)
        yield encoded[(before * 8 + 5) // 6 : end]


def _object(pairs: list[tuple[str, object]]) -> dict:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _texts(data: bytes) -> Iterator[str]:
    """The texts that these bytes may encode. UTF-16 may begin at any byte, with or without a byte order mark."""
    yield data.decode("utf-8", "replace")
    if not _is_utf8(data):
        yield data.decode("latin-1")
    if b"\0" in data or not _is_utf8(data):
        for encoding in ("utf-16-le", "utf-16-be"):
            for start in (0, 1):
                yield data[start:].decode(encoding, "replace")
    if b"\0\0" in data:
        yield data.decode("utf-32-le", "replace")
        yield data.decode("utf-32-be", "replace")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(text: str) -> Iterator[str]:
    """The texts that are encoded in this text."""
    if "%" in text:
        yield unquote(text)
        yield unquote_plus(text)
    runs = [run.translate({45: 43, 95: 47}) for run in BASE64.findall(text)]
    for start in range(4 if runs else 0):
        yield from _texts(b"\n".join(_from_base64(run[start:]) for run in runs))


def _from_base64(run: str) -> bytes:
    whole = len(run) // 4 * 4
    rest = run[whole:] if len(run) % 4 > 1 else ""
    return base64.b64decode(run[:whole] + (rest + "==")[:4] if rest else run[:whole])
