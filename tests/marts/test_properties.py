"""Whatever is sent, a build succeeds, and no environment changes another's rows."""

import json
import os
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, assume, given, settings

from .conftest import landed
from .histories import NOT_EVALUATIONS, NOT_UTF8
from .test_cases import READABLE, UNREADABLE
from .test_environments import FORGED, SAME_TEXT, SEGMENTS
from .warehouse import Warehouse

# Histories to a build; each has an environment of its own. By hand: HISTORIES=60 EXAMPLES=20.
HISTORIES = int(os.environ.get("HISTORIES", "12"))
EXAMPLES = int(os.environ.get("EXAMPLES", "1"))

numbers = st.one_of(st.integers(-5, 5), st.integers(-(10**30), 10**30), st.floats(), st.booleans(), st.none())
texts = st.one_of(st.sampled_from(["", "1", "true", "a|b", "k", "é☃\x00"]), st.text(max_size=8))
scalars = st.one_of(numbers, texts)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def objects(**values):
    """Objects with some of these keys. Their values are valid, or anything."""
    return st.fixed_dictionaries(
        {}, optional={key: st.one_of(value, anything) for key, value in values.items()}
    )


names = st.sampled_from(["f", "g"])
flags = objects(
    enabled=st.booleans(),
    feature=objects(id=st.integers(1, 4), name=names, type=st.sampled_from(["STANDARD", "MULTIVARIATE"])),
    feature_state_value=scalars,
    feature_segment=st.none() | st.integers(1, 3),
    identity=st.none() | st.integers(1, 3),
    percentage_allocation=st.none() | st.floats(0, 100),
)
segments = objects(id=st.integers(1, 4), name=names, member=st.booleans())
traits = objects(trait_key=names, trait_value=scalars, transient=st.booleans())
shapes = objects(
    identity=st.sampled_from(["ann", "bob"]),
    flags=st.lists(flags, max_size=3),
    segments=st.lists(segments, max_size=3),
    traits=st.lists(traits, max_size=3),
)
changes = objects(
    event_type=st.sampled_from(["FLAG_UPDATED", "AUDIT_LOG_CREATED"]),
    data=objects(
        new_state=objects(feature=objects(id=st.integers(1, 4), name=names), enabled=st.booleans()),
        timestamp=st.sampled_from(["2026-05-01T14:00:00+02:00", "0000-01-01", "infinity"]),
    ),
)
known = [
    *(body for body, _ in UNREADABLE.values()),
    *READABLE.values(),
    *SAME_TEXT.values(),
    *(
        f'{{"flags": {text}, "identity": "ann", "segments": {SEGMENTS}, "traits": []}}'
        for text in FORGED.values()
    ),
    *(body for body in NOT_EVALUATIONS if body != NOT_UTF8),
]
bodies = st.one_of(st.sampled_from(known), st.one_of(shapes, changes, anything).map(json.dumps))
histories = st.lists(st.tuples(bodies, st.integers(0, 3), st.booleans()), min_size=1, max_size=6)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 1,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(histories, min_size=HISTORIES, max_size=HISTORIES))
def test_environments__any_bodies__build_and_have_the_rows_they_would_have_alone(drawn):
    """Given any bodies to several environments; then all are built, and an environment's rows come only from its own bodies."""
    # Hypothesis always begins with the smallest example, which would show nothing.
    assume(sum(map(len, drawn)) > 2 * len(drawn))
    sent = {f"environment {number}": history for number, history in enumerate(drawn)}
    sent |= {f"known {number}": [(body, 0, True)] for number, body in enumerate(known)}
    of_all = _built(sent, "build", "--exclude-resource-type", "unit_test")
    for half in (dict(list(sent.items())[::2]), dict(list(sent.items())[1::2])):
        of_half = _built(half, "run")
        for mart, rows in of_all.items():
            expected = [row for row in of_half[mart] if row["environment"] in half]
            assert [row for row in rows if row["environment"] in half] == expected, mart


def _built(sent: dict[str, list], *command: str) -> dict[str, list[dict]]:
    """The rows of every mart of these environments, built at once by this dbt command."""
    warehouse = Warehouse(Path(tempfile.mkdtemp()))
    rows = []
    for environment, history in sent.items():
        for number, (body, hour, is_verified) in enumerate(history):
            received_at = datetime(2026, 5, 1) + timedelta(hours=hour)
            row = landed(body, received_at, f"{environment} {number}", environment)
            rows.append(row._replace(is_verified=is_verified))
    warehouse.land(rows)
    warehouse.dbt(*command)
    marts = warehouse.query(
        "select distinct table_name from duckdb_columns() where schema_name = 'marts' and column_name = 'environment'"
    )
    return {mart["table_name"]: sorted(warehouse.mart(mart["table_name"]), key=repr) for mart in marts}
