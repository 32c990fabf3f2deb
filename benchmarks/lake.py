"""Landing to Parquet files in a local folder, beside landing to the warehouse: the same inbox, one after the other.

A folder has no network in it, so this is the loader's own share. Writes only to a temporary folder.
"""

import resource
import tempfile
import time
from pathlib import Path

from benchmarks.loader import BODIES_OF_A_COMMIT, bodies
from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.inbox.landings import Landings
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.landing import lake
from flagsmith_warehouse.loader.landing.land import land

DELIVERIES, DISTINCT = 50_000, 10_000


def main() -> None:
    """Seconds, files and bytes for bodies of 20 flags, each of which came five times."""
    with tempfile.TemporaryDirectory() as folder:
        url = (Path(folder) / "lake").as_uri()
        settings = settings_module.read(
            {
                "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["x"]}',
                "FLAGSMITH_WAREHOUSE_DIR": f"{folder}/data",
            }
        )
        fill(settings, bodies(20, DISTINCT))
        Landings(settings.inbox_dir).feed(url)
        print("| landing | deliveries/s | MB of bodies | MB on disk | files |")
        print("|---|--:|--:|--:|--:|")
        for name, run in (("warehouse", lambda: land(settings)), ("files", lambda: lake.land(settings, url))):
            started = time.perf_counter()
            landed = run()
            seconds = time.perf_counter() - started
            files = (
                [settings.warehouse_file]
                if name == "warehouse"
                else [*Path(folder, "lake").rglob("*.parquet")]
            )
            size = sum(file.stat().st_size for file in files)
            print(
                f"| {name} | {landed.deliveries / seconds:,.0f} | {landed.bytes / 1e6:,.0f} | {size / 1e6:,.1f} | {len(files)} |",
                flush=True,
            )
        print(f"\nMost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB.")


def fill(settings: settings_module.Settings, distinct: list[bytes]) -> None:
    """An inbox as busy workers leave it."""
    box = Inbox(settings.inbox_dir)
    for start in range(0, DELIVERIES, BODIES_OF_A_COMMIT):
        for number in range(start, min(start + BODIES_OF_A_COMMIT, DELIVERIES)):
            batch, _ = box.join("production", True, distinct[number % DISTINCT])
        box.commit(batch)
    box.close()
