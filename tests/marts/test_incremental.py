"""Incremental builds equal a full refresh, however the landing is divided into builds."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, example, given, settings

from .compare import assert_marts_equal, everything
from .histories import History
from .reference import Landed
from .reference import Warehouse as Reference
from .warehouse import OTHERS, PROJECT, Warehouse

# By hand, for an hour: EXAMPLES=300 pytest tests/marts/test_incremental.py
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))

MODELS = [
    "stg_flagsmith__deliveries",
    "stg_flagsmith__payloads",
    "int_flag_set_elements",
    "int_deliveries",
    "int_state_spells",
    "fct_flag_exposures",
    "fct_flag_assignments",
    "fct_segment_memberships",
    "dim_identities",
]
# A build may be: everything, only the models up to one (the build was stopped there), all but one, or everything
# after one model alone, or with all that it is built from, was rebuilt from scratch.
BUILDS = st.one_of(
    st.just(("whole", None)),
    st.tuples(st.sampled_from(["stopped_after", "without"]), st.sampled_from(MODELS)),
    st.tuples(st.just("after_rebuild_of"), st.sampled_from([*MODELS, *(f"+{model}" for model in MODELS)])),
)


@settings(
    max_examples=max(EXAMPLES, 1),
    deadline=None,
    phases=[Phase.explicit, *([Phase.generate] if EXAMPLES else [])],
    suppress_health_check=list(HealthCheck),
)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.tuples(st.integers(1, 250), st.integers(0, 3), BUILDS), min_size=2, max_size=5),
)
@example(
    seed=1,
    cuts=[
        (300, 0, ("whole", None)),
        (60, 2, ("stopped_after", "int_deliveries")),
        (1, 1, ("whole", None)),
        (40, 1, ("after_rebuild_of", "stg_flagsmith__deliveries")),
        (50, 1, ("without", "int_state_spells")),
        (1, 0, ("whole", None)),
        (200, 3, ("after_rebuild_of", "int_state_spells")),
        (30, 1, ("after_rebuild_of", "+int_deliveries")),
    ],
)
def test_marts__any_cut_of_the_landing__equal_plain_python(seed, cuts):
    """Given deliveries out of order, late by weeks, landed twice and divided at random; when built; then as if built at once."""
    directory = Path(tempfile.mkdtemp())
    warehouse = Warehouse(directory)
    stream = iter(History(seed).deliveries(sum(count for count, _, _ in cuts)))
    so_far: list[Landed] = []
    first_landed_at: dict[str, datetime] = {}
    warehouse.dbt("seed")
    for number, (count, clock, (build, model)) in enumerate(cuts):
        # The landing's clock may stand still or go back: nothing relies on it. Only what is landed twice is not landed a
        # second time before the first: `land` sees to that, and the first copy says when it was landed.
        landed_at = datetime(2026, 7, 1) + timedelta(hours=number - clock)
        batch = []
        for each in (next(stream) for _ in range(count)):
            first = first_landed_at.setdefault(each.delivery_id, landed_at)
            batch.append(each._replace(landed_at=max(landed_at, first)))
        warehouse.land(batch)
        so_far += batch
        if build in ("stopped_after", "without"):
            warehouse.run(*(("--select", f"+{model}") if build == "stopped_after" else ("--exclude", model)))
            continue
        if build == "after_rebuild_of":
            warehouse.run("--full-refresh", "--select", model) if number else None
        warehouse.run()
        assert_marts_equal(warehouse, Reference(so_far))
    warehouse.run()
    assert_marts_equal(warehouse, Reference(so_far))


def test_marts__built_in_steps__every_model_equals_a_full_refresh(warehouse, tmp_path_factory):
    """Given four builds in one warehouse and one in another; then every table is equal, ties included."""
    rows = History(7).deliveries(700)
    for start in range(0, len(rows), 175):
        warehouse.land(rows[start : start + 175])
        warehouse.run()
    shuffled = rows[:]
    random.Random(3).shuffle(shuffled)
    at_once = Warehouse(tmp_path_factory.mktemp("at_once"))
    at_once.land(shuffled)
    at_once.run()

    in_steps = everything(warehouse)
    assert in_steps.keys() >= {"fct_flag_assignments", "int_state_spells", "stg_flagsmith__payloads"}
    assert in_steps == everything(at_once)

    warehouse.run("--full-refresh")
    assert everything(warehouse) == in_steps


def test_marts__build_killed_at_any_moment__next_build_is_right(warehouse, captured):
    """Given dbt killed with SIGKILL again and again; when a build ends at last; then nothing is lost or doubled."""
    chance = random.Random(11)
    command = [
        sys.executable,
        "-m",
        "dbt.cli.main",
        "run",
        "--exclude",
        *OTHERS,
        "--project-dir",
        PROJECT,
        "--profiles-dir",
        PROJECT,
    ]
    environment = {
        **os.environ,
        "FLAGSMITH_WAREHOUSE_DIR": str(warehouse.directory),
        "DBT_TARGET_PATH": str(warehouse.directory / "target"),
        "DBT_LOG_PATH": str(warehouse.directory / "logs"),
    }
    warehouse.land([])
    warehouse.run()
    kills = 0
    for start in range(0, len(captured), 32):
        warehouse.land(captured[start : start + 32])
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if "START sql" in line and chance.random() < 0.2:
                time.sleep(chance.random() * 0.05)
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    warehouse.run()
    assert_marts_equal(warehouse, Reference(captured))
