"""Small hostile histories: few identities, few features, every kind of coincidence."""

import hashlib
import json
import random
from datetime import datetime, timedelta

from .reference import Landed

BEGINNING = datetime(2026, 5, 1)
VALUES = [None, "", 0, False, True, 1, 7, "a", "b", "control", "1", "true", '{"a": 1}', "é☃"]
TRAIT_VALUES = [None, "", "x", 0, 1, 1.0, -0.0, 1e-07, 12.5, 2**53 + 1, 10**29, True, False, "true", "1"]
IDENTITIES = ["ann", "bob", "Ann", "", "☃" * 50, "x" * 2000, "d|e", "f\nnul"]
NOT_UTF8 = "/wD+"  # base64 of three bytes
NOT_EVALUATIONS = [
    NOT_UTF8,
    "",
    "not json",
    "{",
    "[]",
    "3",
    "null",
    "{}",
    '{"identity": "ann"}',
    '{"identity": null, "flags": []}',
    '{"identity": 3, "flags": []}',
    '{"identity": "ann", "flags": {}}',
    '{"identity": "ann", "flags": "x"}',
    '{"identity": "ann", "segments": 1, "flags": []}',
    '{"identity": "ann", "traits": true, "flags": []}',
    '{"identity": "ann", "flags": [3]}',
    '{"identity": "ann", "flags": [{"enabled": true}]}',
    '{"identity": "ann", "flags": [{"enabled": null, "feature": {"id": 1, "name": "f"}}]}',
    '{"identity": "ann", "segments": [{"id": 1}]}',
    '{"identity": "ann", "traits": [{"trait_value": 1}]}',
    '{"identity": "\\ud83d", "flags": []}',
    '{"data": {"log": "x"}, "event_type": "AUDIT_LOG_CREATED"}',
    '{"data": {"new_state": {"enabled": true, "feature": {"id": 3, "name": "f"}}}, "event_type": "FLAG_UPDATED"}',
    '{"data": 1, "event_type": "SOMETHING_NEW"}',
    '{"data": null, "event_type": 3}',
    "[" * 300 + "]" * 300,
]


class History:
    """Draws deliveries from a seed; equal seeds draw equal deliveries."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)  # repeatable, not secret
        self.moments = [
            BEGINNING
            + timedelta(
                days=self.random.randrange(40), microseconds=self.random.randrange(5) * 43_200_000_000
            )
            for _ in range(25)
        ]
        self.flag_sets = [self._flags() for _ in range(5)]
        # The flags that a client-side call sees: the same flags, some of them hidden.
        self.flag_sets += [[flag for flag in flags if flag["id"] % 2] for flags in self.flag_sets[:3]]
        self.segment_sets = [self._segments() for _ in range(4)]
        self.trait_sets = [self._traits() for _ in range(5)]

    def deliveries(self, count: int) -> list[Landed]:
        """Return `count` rows of the landing: coincident times, repeated bodies, deliveries landed twice."""
        rows: list[Landed] = []
        for number in range(count):
            if rows and self.random.random() < 0.05:
                rows.append(self.random.choice(rows))
                continue
            body = self._body()
            rows.append(
                Landed(
                    delivery_id=f"{self.random.randrange(10**6):06d}-{number:05d}",
                    environment=self.random.choice(["production", "production", "staging"]),
                    received_at=self.random.choice(self.moments),
                    landed_at=BEGINNING,
                    payload_hash=hashlib.sha256(body.encode()).hexdigest(),
                    is_verified=True,
                    body_encoding="base64" if body == NOT_UTF8 else "utf-8",
                    body=body,
                )
            )
        return rows

    def _body(self) -> str:
        if self.random.random() < 0.08:
            return self.random.choice(NOT_EVALUATIONS)
        body = {"identity": self.random.choice(IDENTITIES), "unknown": [1]}
        for key, sets in (
            ("flags", self.flag_sets),
            ("segments", self.segment_sets),
            ("traits", self.trait_sets),
        ):
            draw = self.random.random()
            if draw < 0.9:
                body[key] = self.random.choice(sets)
            elif draw < 0.95:
                body[key] = None
        if not body.keys() & {"flags", "segments", "traits"}:
            body["flags"] = []
        return json.dumps(body, sort_keys=True)

    def _flags(self) -> list[dict]:
        flags = []
        for feature_id in self.random.sample(range(1, 7), self.random.randrange(0, 6)):
            value = self.random.choice(VALUES)
            flag = {
                "enabled": self.random.random() < 0.7,
                "environment": 1,
                "feature": {
                    "id": feature_id,
                    "initial_value": self.random.choice([None, "control", "a"]),
                    "default_enabled": True,
                    "name": self.random.choice([f"flag_{feature_id}", f"renamed_{feature_id}", "ü" * 100]),
                    "type": "MULTIVARIATE" if feature_id > 3 else "STANDARD",
                },
                "feature_segment": self.random.choice([None, None, 4]),
                "feature_state_value": value,
                "id": feature_id,
                "identity": self.random.choice([None, None, None, 9]),
            }
            draw = self.random.random()
            if draw < 0.4:
                flag["percentage_allocation"] = self.random.choice([0.0, 10.0, 33.3, 50])
            elif draw < 0.7:
                flag["percentage_allocation"] = None
            flags.append(flag)
        if flags and self.random.random() < 0.2:
            flags.append({**flags[0], "enabled": not flags[0]["enabled"]})
        return flags

    def _segments(self) -> list[dict]:
        return [
            {
                "id": number,
                "name": self.random.choice(["s", f"segment {number}"]),
                "member": self.random.random() < 0.5,
            }
            for number in self.random.sample(range(1, 6), self.random.randrange(0, 5))
        ]

    def _traits(self) -> list[dict]:
        traits = [
            {"id": 1, "trait_key": key, "trait_value": self.random.choice(TRAIT_VALUES)}
            for key in self.random.sample(["plan", "age", "é", "a b", ""], self.random.randrange(0, 5))
        ]
        for trait in traits:
            if self.random.random() < 0.8:
                trait["transient"] = self.random.random() < 0.3
        return traits
