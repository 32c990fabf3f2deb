"""The captured requests of a real Flagsmith, and the project behind them."""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fixtures" / "captured"
_LINES = (FOLDER / "flagsmith_2_265_0.ndjson").read_text(encoding="utf-8").rstrip("\n").split("\n")
REQUESTS = [json.loads(line) for line in _LINES]
PROJECT = json.loads((FOLDER / "project.json").read_text(encoding="utf-8"))


def evaluations() -> list[tuple[str, dict]]:
    """Return (received_at, body) of the evaluations in the environment that project.json describes."""
    read = [(request["received_at"], json.loads(request["body"])) for request in REQUESTS]
    return [(at, body) for at, body in read if "flags" in body and body["flags"][0]["environment"] == 1]
