"""The simulated world: the same seed gives the same bytes, and bodies say what was intended."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from simulator.world import Parameters, World

SMALL = Parameters(deliveries=2_000, identities=60, environments=("production", "staging"), transient=0.1)


def fingerprint(parameters: Parameters = SMALL) -> str:
    digest = hashlib.sha256()
    for delivery in World(parameters).deliveries():
        digest.update(f"{delivery.received_at} {delivery.environment} ".encode() + delivery.body)
    return digest.hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_world__another_process_and_hash_seed__gives_the_same_bytes(hash_seed):
    code = "from tests.simulator.test_world import fingerprint; print(fingerprint())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == fingerprint()


def test_world__every_body__is_written_as_flagsmith_writes_json():
    for delivery in World(SMALL).deliveries():
        assert json.dumps(json.loads(delivery.body), sort_keys=True).encode("ascii") == delivery.body
