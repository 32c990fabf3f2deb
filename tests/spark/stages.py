"""Which stages of a build on Spark take the most time: read from the event log that Spark writes, which its UI shows, too."""

import contextlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The comment that dbt puts before a statement says for which model it is.
NODE = re.compile(r'"node_id": "(?:\w+\.)+(\w+)"')
METRICS = {
    "internal.metrics.executorRunTime": "milliseconds",
    "internal.metrics.input.bytesRead": "read",
    "internal.metrics.shuffle.write.bytesWritten": "shuffled",
}


@dataclass
class Stage:
    """Times in milliseconds of its tasks together, sizes in bytes."""

    model: str
    number: int
    tasks: int
    milliseconds: int = 0
    read: int = 0
    shuffled: int = 0


@contextlib.contextmanager
def named_by_model() -> Iterator[dict[str, float]]:
    """Name the jobs of each statement within by the model that dbt runs it for.

    Gives the seconds that the statements of each model took, planning included.
    """
    from pyspark.sql import SparkSession

    run, seconds = SparkSession.sql, defaultdict(float)

    def sql(session: SparkSession, query: str, *arguments, **named):
        node = NODE.search(query)
        model = node[1] if node else "(hooks)"
        session.sparkContext.setJobDescription(model)
        begun_at = time.perf_counter()
        try:
            return run(session, query, *arguments, **named)
        finally:
            seconds[model] += time.perf_counter() - begun_at

    SparkSession.sql = sql
    try:
        yield seconds
    finally:
        SparkSession.sql = run


def settings(folder: Path) -> str:
    """Options of spark-submit with which a session writes its event log into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {"enabled": "true", "dir": folder.as_uri(), "compress": "false", "rolling.enabled": "false"}
    return " ".join(f"--conf spark.eventLog.{name}={value}" for name, value in options.items())


def stages_of(folder: Path) -> list[Stage]:
    """The stages that the event logs in the folder have, the longest first."""
    models, stages = {}, []
    for log in sorted(folder.iterdir()):
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerJobStart":
                model = event["Properties"].get("spark.job.description", "(hooks)")
                models |= dict.fromkeys(event["Stage IDs"], model)
            elif event["Event"] == "SparkListenerStageCompleted":
                stages.append(_stage(event["Stage Info"], models))
    return sorted(stages, key=lambda stage: -stage.milliseconds)


def _stage(given: dict, models: dict[int, str]) -> Stage:
    stage = Stage(models.get(given["Stage ID"], "(hooks)"), given["Stage ID"], given["Number of Tasks"])
    for each in given["Accumulables"]:
        if name := METRICS.get(each["Name"]):
            setattr(stage, name, int(each["Value"]))
    return stage


def table(stages: list[Stage], statements: dict[str, float], longest: int = 10) -> Iterator[str]:
    """Lines: the longest stages with their share of the time of all tasks; then the models with the longest statements."""
    total = sum(stage.milliseconds for stage in stages) or 1
    yield f"{len(stages):,} stages, {total / 1000:,.0f} s in tasks"
    yield f"{'model':<34}{'stage':>7}{'tasks':>7}{'s':>8}{'share':>8}{'MB read':>9}{'MB shuffled':>13}"
    for stage in stages[:longest]:
        yield (
            f"{stage.model:<34}{stage.number:>7}{stage.tasks:>7}{stage.milliseconds / 1000:>8.1f}"
            f"{stage.milliseconds / total:>8.0%}{stage.read / 1e6:>9.1f}{stage.shuffled / 1e6:>13.1f}"
        )
    in_tasks: dict[str, int] = defaultdict(int)
    for stage in stages:
        in_tasks[stage.model] += stage.milliseconds
    yield f"{'model':<34}{'s of statements':>16}{'s in tasks':>12}"
    for model, seconds in sorted(statements.items(), key=lambda each: -each[1])[:longest]:
        yield f"{model:<34}{seconds:>16.1f}{in_tasks[model] / 1000:>12.1f}"
    yield f"{'all':<34}{sum(statements.values()):>16.1f}{total / 1000:>12.1f}"
