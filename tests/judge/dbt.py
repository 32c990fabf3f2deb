"""dbt in processes that can be killed, each in a time zone of its own, forked from one that has parsed the project."""

import multiprocessing
import os
import sys
import time
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.judge.parsed"])


def run(arguments: list[str], directory: Path, zone: str, killed_after: float | None) -> str | None:
    """Return None, or what dbt said where it failed or was killed."""
    said = directory / "said.txt"
    process = SERVER.Process(target=_run, args=(arguments, directory, zone, said))
    process.start()
    process.join(killed_after or 600)
    if process.exitcode is None:
        process.kill()
        process.join()
        return "killed"
    return None if process.exitcode == 0 else said.read_text()


def _run(arguments: list[str], directory: Path, zone: str, said: Path) -> None:
    # DuckDB takes the zone of the process when it is first used: nothing before the fork has used it.
    os.environ |= {"TZ": zone, "FLAGSMITH_WAREHOUSE_DIR": str(directory)}
    time.tzset()
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    from .parsed import MANIFEST, dbtRunner

    result = dbtRunner(MANIFEST).invoke(arguments)
    if result.exception:
        print(result.exception, flush=True)
    sys.exit(not result.success)
