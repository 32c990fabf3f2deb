"""The simulated world: the same seed gives the same bytes, and bodies say what was intended."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.world import World

SMALL = Parameters(deliveries=2_000, identities=60, environments=("production", "staging"), transient=0.1)
SALE = replace(SMALL, has_sale=True)


def fingerprint(parameters: Parameters = SMALL) -> str:
    digest = hashlib.sha256()
    for delivery in World(parameters).deliveries():
        digest.update(f"{delivery.received_at} {delivery.environment} ".encode() + delivery.body)
    return digest.hexdigest()


def test_world__any_python__gives_the_bytes_that_it_always_gave():
    # Changed on purpose? Then write the new one here, and make simulator/example_month/example_conversion_events.csv anew.
    assert fingerprint() == "22d12c7249a4ed00930c2d2b039949bb8975bae5804b3488e29f133722d3f801"


def test_world__any_python__gives_the_bytes_of_a_sale_that_it_always_gave():
    # Changed on purpose? Then write the new one here, and the true lifts in docs/experiments.md anew.
    assert fingerprint(SALE) == "eb697adbdcb11dbdc6dff49b07a7e87ed25eee8bf6abe7f05a774139591960e1"


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_world__another_process_and_hash_seed__gives_the_same_bytes(hash_seed):
    code = "from tests.simulator.test_world import fingerprint; print(fingerprint())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert answer.stdout.decode().strip() == fingerprint()


def test_world__another_seed__gives_other_bytes():
    assert fingerprint(replace(SMALL, seed=2)) != fingerprint()


def test_world__every_body__is_written_as_flagsmith_writes_json():
    for delivery in World(SMALL).deliveries():
        assert json.dumps(json.loads(delivery.body), sort_keys=True).encode("ascii") == delivery.body


def test_world__deliveries__come_in_time_order_as_many_as_counted():
    world = World(SMALL)
    received = [delivery.received_at for delivery in world.deliveries()]
    assert received == sorted(received)
    assert len(received) == world.count > SMALL.deliveries
    assert len(list(world.evaluations())) == SMALL.deliveries


def test_world__one_identity__never_calls_twice_in_a_microsecond():
    calls = Counter(
        (one.environment, one.state.identity, one.received_at) for one in World(SMALL).evaluations()
    )
    assert set(calls.values()) == {1}


@pytest.mark.parametrize(
    ("calls_per_state", "identities", "days"), [(1, 20, 28), (4, 20, 28), (10, 1, 1), (10, 3, 0.01)]
)
def test_world__calls_per_state__is_how_often_a_body_is_repeated(calls_per_state, identities, days):
    parameters = Parameters(
        deliveries=3_000,
        identities=identities,
        calls_per_state=calls_per_state,
        days=days,
        transient=0,
        is_changing=False,
    )
    latest: dict[str, bytes] = {}
    states = 0
    for one in World(parameters).evaluations():
        states += latest.get(one.state.identity) != one.body
        latest[one.state.identity] = one.body
    assert states == 3_000 // calls_per_state
    assert len(latest) == identities


def test_world__volatile_traits__leave_no_two_bodies_alike():
    bodies = [one.body for one in World(replace(SMALL, volatile=1.0)).evaluations()]
    assert len(set(bodies)) == len(bodies)


def test_world__environments__have_the_same_ids_and_names_but_other_flags():
    seen: dict[str, dict] = {"production": {}, "staging": {}}
    for one in World(SMALL).evaluations():
        identities = seen[one.environment].setdefault(one.state.identity, set())
        identities.update((flag.setting.id, flag.option) for flag in one.state.flags)
    assert seen["production"].keys() == seen["staging"].keys()
    assert seen["production"] != seen["staging"]
    bodies = {one.environment: json.loads(one.body) for one in World(SMALL).evaluations()}
    assert {body["flags"][0]["environment"] for body in bodies.values()} == {1}


@pytest.mark.parametrize("features", [1, 5, 22, 50])
def test_world__features__are_as_many_as_asked_for(features):
    parameters = Parameters(deliveries=50, identities=10, features=features, is_changing=False)
    assert {len(one.state.flags) for one in World(parameters).evaluations()} == {features}


def test_parameters__more_identities_than_visits__are_refused():
    with pytest.raises(ValueError, match="100 identities do not all fit into 20 visits"):
        Parameters(deliveries=100, identities=100, calls_per_state=5)
