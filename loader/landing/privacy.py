"""Privacy rules: a file decides for each trait what of it goes into the warehouse. There are no rules without that file.

`land` applies the rules. The inbox holds bodies as they were sent until they are landed; the warehouse never does.
A body that is altered is written again as JSON, and its row has the keyed hash of the original body.
"""

import contextlib
import hmac
import json
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flagsmith_warehouse.loader.filesystem import sync
from flagsmith_warehouse.loader.landing import persons
from flagsmith_warehouse.loader.settings import PRIVACY_FILE, PRIVACY_KEY, SettingsError

# The keys that Flagsmith sends in a change: environment webhooks, versions, the audit log.
CHANGE = {"changed_by", "new_state", "previous_state", "timestamp"}
CHANGE |= {"feature", "live_from", "published_by", "uuid"}
CHANGE |= {"author", "created_date", "environment", "id", "is_system_event", "log", "project"}
CHANGE |= {
    "related_feature_id",
    "related_feature_state_value",
    "related_object_id",
    "related_object_type",
    "related_object_uuid",
}
STATE = {"change_request", "created_at", "deleted_at", "enabled", "environment", "feature", "feature_segment"}
STATE |= {"feature_state_value", "id", "identity", "identity_identifier", "multivariate_feature_state_values"}
TRAIT = {"id", "trait_key", "trait_value", "transient"}
# A body with these keys is not a change but contains another body.
OF_PERSONS = {"identifier", "identities", "trait_key", "trait_value", "traits"}
# Flagsmith's audit log: "Flag state / Remote Config value updated for feature 'x' and identity 'ada'".
NAMING = "identity '"
MENTION = re.compile(r"\bidentit(?:y|ies)\b", re.IGNORECASE)
QUOTED_MENTION = re.compile(MENTION.pattern + r"\W{0,3}['\"]", re.IGNORECASE)
# From the least to the most strict.
RULES = ("keep", "hash", "drop")
SHORTEST_KEY = 16
DRAW_ONE = "Create one and keep it: python3 -c 'import secrets; print(secrets.token_hex(32))'"


@dataclass(frozen=True)
class Privacy:
    """The rules. For a transient trait, the stricter of its own rule and the rule for all transient traits applies."""

    key: bytes
    identity: str = "keep"
    transient_traits: str = "keep"
    other_traits: str = "keep"
    traits: Mapping[str, str] = field(default_factory=dict)

    def apply(self, body: bytes) -> tuple[bytes, str | None]:
        """The body to land and, if it was altered, the keyed hash of the original.

        A body that we do not understand is landed empty, because nobody can say what is in it.
        """
        altered = self._altered(body)
        return (body, None) if altered == body else (altered, self.hashed("body", body))

    def pseudonym(self, identity: str) -> str:
        """The name of an identity in the warehouse: itself, or its hash."""
        return (
            self.hashed("identity", identity.encode(errors="surrogatepass"))
            if self.identity == "hash"
            else identity
        )

    def hashed(self, what: str, value: bytes) -> str:
        """The keyed hash of a value, 32 hex digits. Equal values have equal hashes under the same key."""
        return hmac.digest(self.key, what.encode(errors="surrogatepass") + b"\0" + value, "sha256").hex()[:32]

    def _altered(self, body: bytes) -> bytes:
        try:
            value = persons.parse(body)
            kept = self._change(value) if persons.is_change(value) else self._evaluation(value)
            if kept == value:
                return body
            return json.dumps(kept, sort_keys=True, allow_nan=False).encode()
        except (ValueError, TypeError, KeyError, RecursionError):
            return b""

    def _evaluation(self, value: object) -> dict:
        """The parts of an evaluation to keep; unknown keys are dropped. Raises TypeError or KeyError for other bodies."""
        kept = (
            {key: value[key] for key in value.keys() & persons.EVALUATION} if isinstance(value, dict) else {}
        )
        for part in ("flags", "segments", "traits"):
            _require(all(isinstance(each, dict) for each in _list(kept.get(part))))
        kept["identity"] = self.pseudonym(_text(kept["identity"]))
        if kept.get("traits") is not None:
            kept["traits"] = [trait for each in kept["traits"] if (trait := self._trait(each))]
        return kept

    def _change(self, value: dict) -> dict:
        """The parts of a change to keep: keys that Flagsmith is known to send, without names of identities."""
        data = {key: value["data"][key] for key in value["data"].keys() & CHANGE}
        for state in ("new_state", "previous_state"):
            if data.get(state) is not None:
                _require(isinstance(data[state], dict))
                data[state] = {key: data[state][key] for key in data[state].keys() & STATE}
        return {**value, "data": self._nameless(data)}

    def _nameless(self, value: object, key: str = "") -> object:
        """A part of a change, with every name of an identity replaced by its pseudonym."""
        _require(key not in OF_PERSONS)
        if key == "identity_identifier" and value is not None:
            return self.pseudonym(_text(value))
        if key == "identity":  # one of Flagsmith's numeric ids
            _require(value is None or isinstance(value, int))
        if isinstance(value, dict):
            return {each: self._nameless(part, each) for each, part in value.items()}
        if isinstance(value, list):
            return [self._nameless(each, key) for each in value]
        return self._sentence(value, key == "log") if isinstance(value, str) else value

    def _sentence(self, text: str, is_log: bool) -> str | None:
        """A text with the pseudonym instead of the identity. None if it mentions an identity in an unknown form."""
        if self.identity != "hash" or not (MENTION if is_log else QUOTED_MENTION).search(text):
            return text
        before, naming, rest = text.partition(NAMING)
        name, quote, behind = rest.rpartition("'")
        if quote and behind.strip() in ("", "."):
            return f"{before}{naming}{self.pseudonym(name)}'{behind}"
        return None

    def _trait(self, trait: dict) -> dict | None:
        name = _text(trait["trait_key"])
        rule = self.traits.get(name, self.other_traits)
        if trait.get("transient"):
            rule = max(rule, self.transient_traits, key=RULES.index)
        if rule == "drop":
            return None
        if rule == "hash":
            trait = {key: trait[key] for key in trait.keys() & TRAIT}
            if trait["trait_value"] is not None:
                text = json.dumps(trait["trait_value"], sort_keys=True).encode()
                trait["trait_value"] = self.hashed(f"trait {name}", text)
        return trait


def _require(is_so: bool) -> None:
    if not is_so:
        raise TypeError("not of the form that Flagsmith sends")


def _text(value: object) -> str:
    _require(isinstance(value, str))
    return value


def _list(value: object) -> list:
    _require(value is None or isinstance(value, list))
    return value or []


def read(
    path: Path | None,
    key: str,
    key_file: Path | None = None,
    before_first_key: Callable[[], None] = lambda: None,
) -> Privacy | None:
    """The rules in the file; None without a file. Raises SettingsError.

    Rules that only drop need no key from the settings: they use the key in `key_file`. If that file does not exist, it is
    created, after a call of `before_first_key`.
    """
    if path is None:
        return None
    try:
        rules = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{PRIVACY_FILE.name}: {path} cannot be read ({error}). Nothing is landed without it."
        ) from None
    if unknown := rules.keys() - {"identity", "transient_traits", "other_traits", "traits"}:
        raise SettingsError(
            f"{path}: {', '.join(sorted(unknown))} is not known; the keys are identity, transient_traits, other_traits and [traits]."
        )
    if not isinstance(rules.setdefault("traits", {}), dict):
        raise SettingsError(f'{path}: traits must be a table [traits] with one `name = "drop"` per line.')
    named = {name: rule for name, rule in rules.items() if name != "traits"}
    for name, rule in {**named, **rules["traits"]}.items():
        allowed = (
            RULES[:2] if name == "identity" and "identity" in named and rule == named["identity"] else RULES
        )
        if rule not in allowed:
            raise SettingsError(
                f"{path}: {name} must be {', '.join(allowed[:-1])} or {allowed[-1]}, not {rule!r}."
            )
    if key and len(key) < SHORTEST_KEY:
        raise SettingsError(f"{PRIVACY_KEY.name} needs at least {SHORTEST_KEY} characters. {DRAW_ONE}")
    if not key and "hash" in {*named.values(), *rules["traits"].values()}:
        raise SettingsError(
            f"{path} asks for hashes, and {PRIVACY_KEY.name} needs at least {SHORTEST_KEY} characters. {DRAW_ONE}"
        )
    return Privacy((key or _kept_key(key_file, before_first_key)).encode(), **rules)


def _kept_key(key_file: Path | None, before_first_key: Callable[[], None]) -> str:
    """The key in the file. Without a file, a new key, which is safely on disk before it is used."""
    if key_file is None:
        return secrets.token_hex(32)
    try:
        if not key_file.exists():
            before_first_key()
            _make_key(key_file)
        key = key_file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{key_file} cannot be read or created ({error}). Nothing is landed without it."
        ) from None
    if len(key) < SHORTEST_KEY:
        raise SettingsError(
            f"{key_file} needs at least {SHORTEST_KEY} characters. Restore it from your backup; "
            "without a backup, remove the file, and a new key is created."
        )
    return key


def _make_key(key_file: Path) -> None:
    """Write the key so that only the owner can ever read it, and nobody ever sees half of it."""
    key_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = key_file.with_name(f".{key_file.name}-{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(descriptor)
    try:
        with contextlib.suppress(FileExistsError):  # another process was faster, so its key counts
            key_file.hardlink_to(unfinished)
    finally:
        unfinished.unlink()
    sync(key_file.parent)


def unaltered(body: bytes) -> tuple[bytes, None]:
    """The bodies unchanged, because there are no rules."""
    return body, None


Apply = Callable[[bytes], tuple[bytes, str | None]]
