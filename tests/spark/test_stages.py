"""What is read from Spark's event log."""

import json

from .stages import Stage, stages_of, table


def _completed(number: int, milliseconds: int, read: int = 0) -> dict:
    metrics = {"executorRunTime": milliseconds, "input.bytesRead": read, "jvmGCTime": 5}
    accumulables = [{"Name": f"internal.metrics.{name}", "Value": value} for name, value in metrics.items()]
    stage = {"Stage ID": number, "Number of Tasks": 2, "Accumulables": accumulables}
    return {"Event": "SparkListenerStageCompleted", "Stage Info": stage}


def test_stages__an_event_log__the_longest_first_with_the_model_of_their_job(tmp_path):
    named = {"spark.job.description": "int_state_spells"}
    events = [
        {"Event": "SparkListenerApplicationStart"},
        {"Event": "SparkListenerJobStart", "Stage IDs": [0], "Properties": {}},
        _completed(0, 500),
        {"Event": "SparkListenerJobStart", "Stage IDs": [1, 2], "Properties": named},
        _completed(1, 1_500, read=2_000_000),
    ]
    (tmp_path / "local-1").write_text("\n".join(map(json.dumps, events)))
    found = stages_of(tmp_path)
    assert found == [Stage("int_state_spells", 1, 2, 1_500, 2_000_000), Stage("(hooks)", 0, 2, 500)]
    lines = [line.split() for line in table(found, {"int_state_spells": 4.0})]
    assert lines[0] == ["2", "stages,", "2", "s", "in", "tasks"]
    assert lines[2] == ["int_state_spells", "1", "2", "1.5", "75%", "2.0", "0.0"]
    assert lines[-2:] == [["int_state_spells", "4.0", "1.5"], ["all", "4.0", "2.0"]]
