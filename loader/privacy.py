"""What of a person goes into the warehouse: per trait, as one file says. Off without that file.

Applied while landing: the inbox holds bodies as they were sent until they are landed; the warehouse never does.
A body that is altered is written again as JSON, and its row has the keyed hash of the original body.
"""

import hmac
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loader.settings import PRIVACY_FILE, PRIVACY_KEY, SettingsError

# The stricter, the later.
RULES = ("keep", "hash", "drop")
SHORTEST_KEY = 16


@dataclass(frozen=True)
class Privacy:
    """The rules. A transient trait is kept to the stricter of its own rule and that for all transient ones."""

    key: bytes
    identity: str = "keep"
    transient_traits: str = "keep"
    other_traits: str = "keep"
    traits: Mapping[str, str] = field(default_factory=dict)

    def apply(self, body: bytes) -> tuple[bytes, str | None]:
        """The body to land and, if that is not the body that came, the keyed hash of that one.

        Nothing of a body that cannot be read is landed, for nobody can say what is in it.
        """
        altered = self._altered(body)
        return (body, None) if altered == body else (altered, self.hashed("body", body))

    def pseudonym(self, identity: str) -> str:
        """What stands in the warehouse for an identity."""
        return (
            self.hashed("identity", identity.encode(errors="surrogatepass"))
            if self.identity == "hash"
            else identity
        )

    def hashed(self, what: str, value: bytes) -> str:
        """32 hex digits, the same for the same value, under this key alone."""
        return hmac.digest(self.key, what.encode(errors="surrogatepass") + b"\0" + value, "sha256").hex()[:32]

    def _altered(self, body: bytes) -> bytes:
        try:
            value = json.loads(body)
            (self._evaluation if "identity" in value else self._change)(value)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return b""
        return json.dumps(value, sort_keys=True).encode() if value != json.loads(body) else body

    def _evaluation(self, value: dict) -> None:
        value["identity"] = self.pseudonym(value["identity"])
        if value.get("traits") is not None:
            value["traits"] = [kept for trait in value["traits"] if (kept := self._trait(trait))]
        for unknown in value.keys() - {"flags", "identity", "segments", "traits"}:
            del value[unknown]

    def _change(self, value: dict) -> None:
        data = value["data"]
        for state in ("new_state", "previous_state"):
            if (data.get(state) or {}).get("identity_identifier") is not None:
                data[state]["identity_identifier"] = self.pseudonym(data[state]["identity_identifier"])

    def _trait(self, trait: dict) -> dict | None:
        rule = self.traits.get(trait["trait_key"], self.other_traits)
        if trait.get("transient"):
            rule = max(rule, self.transient_traits, key=RULES.index)
        if rule == "drop":
            return None
        if rule == "hash" and trait["trait_value"] is not None:
            text = json.dumps(trait["trait_value"], sort_keys=True).encode()
            return {**trait, "trait_value": self.hashed(f"trait {trait['trait_key']}", text)}
        return trait


def read(path: Path | None, key: str) -> Privacy | None:
    """The rules in the file; None without a file. Raises SettingsError."""
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
            f"{path}: {', '.join(sorted(unknown))} is not known; there are identity, transient_traits, other_traits and [traits]."
        )
    if not isinstance(rules.setdefault("traits", {}), dict):
        raise SettingsError(
            f'{path}: traits is not a table of the form [traits], one `name = "drop"` a line.'
        )
    named = {name: rule for name, rule in rules.items() if name != "traits"}
    for name, rule in {**named, **rules["traits"]}.items():
        allowed = (
            RULES[:2] if name == "identity" and "identity" in named and rule == named["identity"] else RULES
        )
        if rule not in allowed:
            raise SettingsError(f"{path}: {name} = {rule!r} is none of {', '.join(allowed)}.")
    if "hash" in {*named.values(), *rules["traits"].values()} and len(key) < SHORTEST_KEY:
        raise SettingsError(
            f"{path} asks for hashes and {PRIVACY_KEY.name} has not the {SHORTEST_KEY} characters of a key. Draw one and keep it: "
            "python3 -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return Privacy(key.encode() or b"no key", **rules)


def unaltered(body: bytes) -> tuple[bytes, None]:
    """Without rules the landing is raw."""
    return body, None


Apply = Callable[[bytes], tuple[bytes, str | None]]
