"""Random histories of several environments, from a seed, with every oddity that a landing can hold."""

import base64
import copy
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from .bodies import Landed
from .experiments import Event, Experiment

START = datetime(2026, 3, 2, 9, 30, 11, 123456)
NAMES = [
    *(
        "ann",
        "Ann",
        "ann ",
        "zoë",
        "Ünïcode ☃",
        "Füser 🦊 𝄞",
        'o\'brien "x"',
        "a\\b",
        "tab\there",
        "line\nbreak",
    ),
    *("null", "0", "true", "日本語", "e\u0301", "é", "tester", "%", "x" * 300),
]
# Oddities that can be left out of a history one by one, to see whether the marts still differ without them.
ODDITIES = {
    "types": "elements of the wrong type, NaN, events without data",
    "borrowed": "an array of segments where traits belong, and the like",
    "ties": "deliveries of one identity in the same microsecond",
    "absence": "flags that some bodies lack",
    "offsets": "times of change with an offset",
    "overrides": "identity overrides of multivariate flags with a null percentage",
    "future": "outcomes dated beyond the last delivery",
    "values": "outcomes without a finite number",
    "off": "flags that are not enabled",
    "renames": "features with another name",
    "doubles": "keys and elements that occur twice",
    "workers": "evaluations of the old and the new state in turn, while Flagsmith's workers learn of a change",
    "winners": "options with all the weight",
}
VALUES = [None, "", "0", "blue", "ü", 0, 1, 42, True, False, "true", "null", '{"a": 1}', "x" * 50]


@dataclass
class Feature:
    """A feature in one environment."""

    id: int
    name: str
    initial_value: Any
    value: Any
    enabled: bool = True
    options: list = field(default_factory=list)  # (value, weight), for a multivariate feature
    is_multivariate: bool = False
    is_server_side: bool = False
    is_deleted: bool = False
    segment_override: tuple | None = None  # segment id, enabled, value, options


@dataclass
class Person:
    """An identity in one environment."""

    name: str
    traits: dict = field(default_factory=dict)
    overrides: dict = field(default_factory=dict)
    members: set = field(default_factory=set)


@dataclass
class Environment:
    """What Flagsmith knows of one environment."""

    name: str
    features: list[Feature]
    segments: dict[int, str]
    people: list[Person]
    hides_disabled: bool
    is_old_server: bool
    without: frozenset = frozenset()


@dataclass
class World:
    """A history: its landing in parts, and what was declared."""

    parts: list[list[Landed]]
    experiments: list[Experiment]
    events: list[Event]
    test_identities: set

    @property
    def rows(self) -> list[Landed]:
        return [row for part in self.parts for row in part]


def world(
    seed: int, parts: int = 3, deliveries: int = 300, suffix: str = "", without: frozenset = frozenset()
) -> World:
    """Make the history of a seed. `suffix` keeps its environments apart from those of others in one warehouse."""
    rng = Random(seed)
    span = timedelta(hours=rng.choice([3, 60, 24 * 20, 24 * 75]))
    environments = [
        _environment(rng, name + suffix, without) for name in ("one", "two", "three")[: rng.choice([2, 3])]
    ]
    instants = sorted(START + span * rng.random() for _ in range(deliveries))
    told: list[tuple[datetime, str, str | bytes]] = []
    last_of: dict[str, datetime] = {}
    for at in instants:
        environment = rng.choice(environments)
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            _change(rng, environment)
        person = rng.choice(environment.people)
        if rng.random() < 0.08 and "ties" not in without:
            at = last_of.get(
                environment.name, at
            )  # a tie, or one that comes earlier than what was told before
        last_of[environment.name] = at
        dice = rng.random()
        if dice < 0.10:
            body = _unreadable(rng, environment, person)
        elif dice < 0.15:
            body = _event(rng, environment, person, at)
        else:
            body = _told(rng, environment, person)
        told.append((at, environment.name, body))
        if rng.random() < 0.04 and "workers" not in without:
            told += _burst(rng, environment, at)
        if (
            rng.random() < 0.06 and "ties" not in without
        ):  # the same body in the same microsecond, or a moment later
            told.append((at + timedelta(microseconds=rng.choice([0, 1])), environment.name, body))
        if (
            rng.random() < 0.10 and "ties" not in without
        ):  # the same person in the same microsecond, otherwise
            _change(rng, environment, person)
            told.append(
                (at, environment.name, json.dumps(_evaluation(rng, environment, person), sort_keys=True))
            )
    end = max(at for at, _, _ in told)
    return World(
        _landing(rng, told, parts, end),
        [e for environment in environments for e in _experiments(rng, environment, span)],
        _outcomes(rng, environments, min(span, end - START) if "future" in without else span, without),
        {(None, "tester"), (environments[0].name, "null")},
    )


def _environment(rng: Random, name: str, without: frozenset) -> Environment:
    features = []
    for feature_id in range(1, rng.choice([5, 7, 9])):
        is_multivariate = feature_id <= 3
        value = "control text" if feature_id == 1 else rng.choice(VALUES)
        options = []
        if is_multivariate:
            pool = ["a", "b", "c"] if feature_id == 1 else rng.sample(["a", "b", "blue", 7, "", 0, False], 3)
            options = [(option, weight) for option, weight in zip(pool, [30.0, 20.0, 10.0], strict=True)]
        features.append(
            Feature(
                *(feature_id, f"feature_{feature_id}", rng.choice([value, "b", None]), value),
                *(rng.random() < 0.8, options, is_multivariate, feature_id > 2 and rng.random() < 0.3),
            )
        )
    segments = {n: f"segment {n}" for n in range(1, rng.choice([2, 4]))}
    names = rng.sample(NAMES, rng.randint(3, len(NAMES))) + [f"user_{n}" for n in range(rng.randint(2, 11))]
    if rng.random() < 0.5 and "tester" not in names:
        names.append("tester")
    people = [Person(n) for n in names]
    for person in people:
        for _ in range(rng.randint(0, 4)):
            _change_person(rng, person, segments)
    environment = Environment(
        name, features, segments, people, rng.random() < 0.3, rng.random() < 0.2, without
    )
    if "absence" in without:
        environment.hides_disabled = False
        for feature in features:
            feature.is_server_side = False
    if "off" in without:
        for feature in features:
            feature.enabled = True
    return environment


def _change(rng: Random, environment: Environment, person: Person | None = None) -> None:
    feature = rng.choice(environment.features)
    person = person or rng.choice(environment.people)
    dice = rng.randrange(16)
    if dice < 4:
        _change_person(rng, person, environment.segments)
    elif dice < 6:
        feature.enabled = not feature.enabled or "off" in environment.without
    elif dice == 6:
        weights = [[30.0, 20.0, 10.0], [10.0, 50.0, 40.0], [0.0, 50.0, 50.0], [33.3, 33.3, 0.0]]
        if "winners" not in environment.without:
            weights += [[100.0, 0.0, 0.0], [0.0, 0.0, 100.0]]
        weights = rng.choice(weights)
        feature.options = [(value, w) for (value, _), w in zip(feature.options, weights, strict=False)]
    elif dice == 7 and feature.id != 1:
        feature.value = rng.choice(VALUES)
    elif dice == 8 and "renames" not in environment.without:
        feature.name = f"feature_{feature.id}{rng.choice(['', ' renamed', ' ✓'])}"
    elif dice == 9:
        segment = rng.choice(list(environment.segments) or [0])
        environment.segments[segment] = f"segment {segment}{rng.choice(['', ' renamed'])}"
    elif dice == 10:
        value = rng.choice([*(v for v, _ in feature.options), *VALUES[:8]])
        person.overrides[feature.id] = (rng.random() < 0.8 or "off" in environment.without, value)
    elif dice == 11:
        person.overrides.pop(feature.id, None)
    elif dice == 12:
        if feature.segment_override:
            feature.segment_override = None
        else:
            feature.segment_override = (
                *(
                    rng.choice(list(environment.segments) or [0]),
                    rng.random() < 0.8 or "off" in environment.without,
                ),
                *(rng.choice(VALUES), rng.choice([[], feature.options])),
            )
    elif dice == 13 and rng.random() < 0.3 and "absence" not in environment.without:
        feature.is_deleted = not feature.is_deleted
    elif dice == 14 and rng.random() < 0.3:
        if len(environment.segments) > 1 and rng.random() < 0.5:
            environment.segments.popitem()
        else:
            new = max(environment.segments, default=0) + 1
            environment.segments[new] = f"segment {new}"
    elif dice == 15 and rng.random() < 0.3 and feature.id > 4:
        feature.is_multivariate = not feature.is_multivariate


def _burst(rng: Random, environment: Environment, at: datetime) -> list[tuple[datetime, str, str]]:
    """Evaluations during the minute or two in which one worker after another learns of changes."""
    told, before = [], copy.deepcopy(environment.features)
    for _ in range(rng.choice([1, 1, 4])):
        _change(rng, environment)
    after = environment.features
    for _ in range(rng.randint(2, 6)):
        at += timedelta(seconds=rng.choice([0, 1, 20, 59, 60, 61, rng.uniform(0, 90)]))
        environment.features = rng.choice([before, after])
        body = json.dumps(_evaluation(rng, environment, rng.choice(environment.people)), sort_keys=True)
        told.append((at, environment.name, body))
    environment.features = after
    return told


def _change_person(rng: Random, person: Person, segments: dict) -> None:
    key = rng.choice(["plan", "age", "beta", "email", "odd", "ключ", "other"])
    if rng.random() < 0.2:
        person.traits.pop(key, None)
        return
    person.traits[key] = rng.choice(
        {
            "plan": ["pro", "free", "pro", 5, "PRO"],
            "age": [17, 18, 19, 18.5, "19", "old", -3, 200],
            "beta": [True, False, "true"],
            "email": ["ann@example.com", "ann@else.org", ""],
            "odd": [
                None,
                0,
                0.0,
                -0.0,
                1e-07,
                12.0,
                12,
                10**29,
                float("nan"),
                float("-inf"),
                "a\x00b",
                "x" * 2000,
                2**53 + 1,
                "1.0",
                True,
            ],
        }.get(key, ["ü", "v", 1, None])
    )
    for segment in segments:
        if rng.random() < 0.3:
            person.members ^= {segment}


def _flag(rng: Random, environment: Environment, person: Person, feature: Feature) -> dict:
    enabled, value, options, segment_id, identity_id = (
        feature.enabled,
        feature.value,
        feature.options,
        None,
        None,
    )
    override = feature.segment_override
    if feature.id in person.overrides:
        enabled, value = person.overrides[feature.id]
        options, identity_id = [], 17
    elif override and override[0] in person.members:
        segment_id, enabled, value, options = 900 + override[0], *override[1:]
    percentage = None
    if feature.is_multivariate and identity_id is None:
        digest = hashlib.sha256(f"{feature.id} {person.name}".encode()).digest()
        bucket = int.from_bytes(digest[:4], "big") / 2**32 * 100
        for option, weight in options:
            if bucket < weight:
                value, percentage = option, weight
                break
            bucket -= weight
    flag = {
        "enabled": enabled, "environment": 1, "feature_segment": segment_id, "id": feature.id * 10,
        "feature_state_value": value, "identity": identity_id,
        "feature": {
            "created_date": "2026-01-01T00:00:00.000001Z", "default_enabled": True, "description": None,
            "id": feature.id, "initial_value": feature.initial_value, "name": feature.name,
            "type": "MULTIVARIATE" if feature.is_multivariate else "STANDARD",
        },
    }  # fmt: skip
    is_left_out = "overrides" in environment.without and identity_id and feature.is_multivariate
    if value not in (None, "", 0, False) and not environment.is_old_server and not is_left_out:
        flag["percentage_allocation"] = percentage
    return flag


def _evaluation(rng: Random, environment: Environment, person: Person) -> dict:
    is_client_side = rng.random() < 0.3
    flags = [
        flag
        for feature in environment.features
        if not feature.is_deleted and not (is_client_side and feature.is_server_side)
        for flag in [_flag(rng, environment, person, feature)]
        if flag["enabled"] or not environment.hides_disabled
    ]
    traits = [
        {"id": n, "trait_key": key, "trait_value": value, "transient": False}
        for n, (key, value) in enumerate(sorted(person.traits.items()))
    ]
    if rng.random() < 0.1:
        key = rng.choice(["plan", "last_seen", "odd"])
        traits = [t for t in traits if t["trait_key"] != key]
        traits.append({"id": None, "trait_key": key, "trait_value": rng.randrange(3), "transient": True})
    if environment.is_old_server:
        for trait in traits:
            trait.pop("transient")
    segments = [
        {"id": n, "name": name, "member": n in person.members}
        for n, name in sorted(environment.segments.items())
    ]
    if rng.random() < 0.05:
        rng.shuffle(flags)
    body = {"flags": flags, "identity": person.name, "segments": segments, "traits": traits}
    if rng.random() < 0.06:  # one of the arrays missing or null, or all of them
        names = ["flags", "segments", "traits"]
        for name in names if rng.random() < 0.15 else [rng.choice(names)]:
            body[name] = None
            if rng.random() < 0.5:
                del body[name]
    return body


def _told(rng: Random, environment: Environment, person: Person) -> str:
    """An evaluation as Flagsmith writes it; seldom with something twice."""
    body = _evaluation(rng, environment, person)
    if "doubles" in environment.without or rng.random() > 0.02:
        return json.dumps(body, sort_keys=True)
    if rng.random() < 0.5:  # an element
        for name in ("flags", "segments", "traits"):
            body[name] = [*reversed(body.get(name) or []), *(body.get(name) or [])][: rng.choice([3, 99])]
        return json.dumps(body, sort_keys=True)
    key, again = rng.choice([
        ('"enabled": true', '"enabled": false'), ('"member": true', '"member": false'), ('"type": ', '"type": "X"'),
        ('"trait_value": ', '"trait_value": 7'), ('"traits": ', '"traits": []'), ('"identity": ', '"identity": "nobody"'),
    ])  # fmt: skip
    text = json.dumps(body, sort_keys=True)
    # Put the repeated key after the first one.
    head, found, tail = text.rpartition(key)
    end = tail.find(', "') if found else -1
    return text if end < 0 else f"{head}{found}{tail[:end]}, {again}{tail[end:]}"


def _unreadable(rng: Random, environment: Environment, person: Person) -> str | bytes:
    good = _evaluation(rng, environment, person)
    good = {"flags": [], "segments": [], "traits": [], **{k: v for k, v in good.items() if v is not None}}
    text = json.dumps(good, sort_keys=True)
    if rng.random() < 0.35 or "types" in environment.without:
        return _not_a_webhook(rng, environment, text)
    flag = json.loads(json.dumps(_flag(rng, environment, person, environment.features[0])))
    kind = rng.randrange(5 if "borrowed" in environment.without else 6)
    if kind == 0:
        good["identity"] = rng.choice([5, None, True, ["x"], {}])
    elif kind == 1:
        good[rng.choice(["flags", "segments", "traits"])] = rng.choice([{}, "x", 5, True, {"id": 1}])
    elif kind == 2:
        element = rng.choice([1, "x", None, [], {}, {"enabled": True}, {"enabled": 1, "feature": 5}])
        if rng.random() < 0.8:
            element = flag
            for _ in range(rng.choice([1, 1, 2])):
                holder, key, values = rng.choice([
                    (flag["feature"], "id", ["1", 1.0, True, 1.5, None, 10**30, -(2**63), [1], "x", float("nan")]),
                    (flag["feature"], "name", [5, True, ["x"], {}]), (flag["feature"], "type", [5, False]),
                    (flag, "enabled", ["true", 1, None, "x", []]),
                    (flag, "percentage_allocation", ["30", True, [], float("nan")]),
                ])  # fmt: skip
                holder[key] = rng.choice(values)
        good["flags"] = [element, *(f for f in good["flags"] if f["feature"]["id"] != 1)]
    elif kind == 3:
        segment_id, member = rng.choice([
            (1, 1), (1, "true"), (1, None), ("1", True), (None, True), (1.5, True), (True, True), (1.0, False), (2.0, 0),
            (10**19, True), (1, True),
        ])  # fmt: skip
        name = rng.choice(["segment 1", "segment 1", None, 5, ["x"]])
        good["segments"] = [{"id": segment_id, "name": name, "member": member}]
        if rng.random() < 0.1:
            good["segments"].append(rng.choice([None, 1, {}, []]))
    elif kind == 4:
        key = rng.choice([5, None, True, ["x"], "plan"])
        traits = [t for t in good["traits"] if t["trait_key"] != key]
        is_transient = rng.choice([True, None, "true", 1, 0.0])
        good["traits"] = [{"trait_key": key, "trait_value": 1, "transient": is_transient}, *traits]
    else:  # an array that is right elsewhere
        taken, put = rng.sample(["segments", "traits", "flags"], 2)
        good[put] = good[taken] or [1]
        if rng.random() < 0.5 and good[taken]:
            good[taken] = []
    return json.dumps(good, sort_keys=True)


def _not_a_webhook(rng: Random, environment: Environment, text: str) -> str | bytes:
    """A body that is no JSON object, or one of another shape; `text` is a good one."""
    plain = [
        text[:-7],
        "hello",
        "",
        "[1, 2]",
        '"text"',
        "{}",
        text.encode("utf-16"),
        b"\xff\xfe",
        '{"data": {}}',
    ]
    if "types" in environment.without:
        return rng.choice(plain)
    return rng.choice([
        "", "hello", "NaN", "[1, 2]", '"text"', "null", "5", "{}", text[:-7], text[:-1] + ",}", text + "x", text.encode("utf-16"),
        b"\xff\xfe", '{"flags": []}', "{}" * 2, "[" * 200 + "]" * 200,
        '{"event_type": "FLAG_UPDATED", "data": null}', '{"event_type": "FLAG_UPDATED"}',
        '{"event_type": "FLAG_UPDATED", "data": []}', '{"data": {}}', '{"event_type": null, "data": {}}',
        "[[]]",
        text.replace('"identity": ', '"identity": "\\ud800", "was": ', 1) if '"identity": "' in text else "",
    ])  # fmt: skip


def _event(rng: Random, environment: Environment, person: Person, at: datetime) -> str:
    feature = rng.choice(environment.features)
    stamp = rng.choice([
        at.isoformat() + "Z", at.isoformat() + "+00:00", (at + timedelta(hours=2)).isoformat() + "+02:00",
        (at - timedelta(hours=5, minutes=30)).isoformat() + "-05:30", at.replace(microsecond=0).isoformat() + "Z",
    ])  # fmt: skip
    if "offsets" in environment.without:
        stamp = at.isoformat() + "Z"
    dice = rng.random()
    if dice < 0.3:
        project = {"id": 1, "name": "p"}
        data = {
            "author": rng.choice([None, {"email": "lab@example.com", "id": 1}]), "created_date": stamp,
            "environment": rng.choice([None, {"id": 1, "name": "Production", "api_key": "k"}]), "project": project,
            "log": f"Flag state updated for feature: {feature.name}", "related_object_type": "FEATURE_STATE",
        }  # fmt: skip
        return json.dumps({"data": data, "event_type": "AUDIT_LOG_CREATED"}, sort_keys=True)
    whose = person.name if rng.random() < 0.3 else None

    def state() -> dict:
        return {
            "enabled": rng.random() < 0.5, "feature_state_value": rng.choice(VALUES), "feature_segment": None,
            "environment": {"id": 1, "name": "Production"}, "identity": 3 if whose else None,
            "identity_identifier": whose, "multivariate_feature_state_values": [],
            "feature": {"id": feature.id, "name": feature.name, "type": "STANDARD", "initial_value": None},
        }  # fmt: skip

    event_type = rng.choice(["FLAG_UPDATED", "FLAG_UPDATED", "FLAG_DELETED"])
    data = {"changed_by": "lab@example.com", "timestamp": stamp, "previous_state": state()}
    if event_type == "FLAG_UPDATED":
        data["new_state"] = state()
        if rng.random() < 0.3:
            data["previous_state"] = None
    return json.dumps({"data": data, "event_type": event_type}, sort_keys=True)


def _landing(rng: Random, told: list, parts: int, end: datetime) -> list[list[Landed]]:
    """Deal what was told to parts: most by time, some late; some deliveries twice."""
    shuffled = rng.random() < 0.2
    told = sorted(told, key=lambda item: item[0])
    dealt: list[list[Landed]] = [[] for _ in range(parts)]
    for place, (at, environment, body) in enumerate(told):
        part = rng.randrange(parts) if shuffled else place * parts // len(told)
        if rng.random() < 0.1:
            part = rng.randrange(part, parts)
        raw = body if isinstance(body, bytes) else body.encode()
        try:
            encoding, text = "utf-8", raw.decode()
        except UnicodeDecodeError:
            encoding, text = "base64", base64.b64encode(raw).decode()
        row = Landed(
            f"{int((at - START).total_seconds() * 1e3):010x}-{rng.getrandbits(48):012x}",
            *(environment, at, end + timedelta(hours=part + 1, seconds=rng.randrange(2))),
            *(hashlib.sha256(raw).hexdigest(), True, encoding, text),
        )
        dealt[part].append(row)
        if rng.random() < 0.04:
            again = rng.randrange(part, parts)
            dealt[again].append(row._replace(landed_at=end + timedelta(hours=again + 1, seconds=2)))
    for rows in dealt:
        rng.shuffle(rows)
        rows.sort(key=lambda row: row.landed_at)
    return dealt


def _experiments(rng: Random, environment: Environment, span: timedelta) -> list[Experiment]:
    started = START + span * rng.choice([0, 0.1, 0.3])
    ended = rng.choice([None, started + span * 0.5, started + span * 3])
    name = environment.name
    return [
        Experiment(f"split_{name}", name, "feature_1", started, ended, "environment_default", "open"),
        Experiment(f"rollout_{name}", name, "feature_2", START, None, "segment_override", None),
        # Declared weights move no figure.
        Experiment(
            f"declared_{name}", name, "feature_1", started, ended, "environment_default", None, "control=1"
        ),
    ]


def _outcomes(
    rng: Random, environments: list[Environment], span: timedelta, without: frozenset
) -> list[Event]:
    """Outcomes of everybody, some dated long after the last delivery."""
    events = []
    for environment in environments:
        for person in environment.people:
            for _ in range(rng.randrange(8)):
                at = START + span * rng.uniform(-0.1, 0.95 if "future" in without else 1.02)
                if rng.random() < 0.05 and "future" not in without:
                    at = datetime(2099, 1, 1)
                kind = rng.choice(["buy", "buy", "open"])
                value = rng.choice([1.0, 2.5, 10.0, -3.0, 0.0])
                if rng.random() < 0.04 and "values" not in without:
                    value = rng.choice([None, float("nan"), float("inf")])
                events.append(Event(person.name, kind, at, value, environment.name))
    return events
