"""The metrics of the web workers, summed over all of them (Prometheus with several processes).

`serve` must name the workers' shared folder before this module is imported. Without a folder, as under
`flask run`, the figures are those of one process.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.landings import Landings

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

RECEIVED = Counter("flagsmith_webhooks_received", "Webhooks received, whatever the answer")
ACCEPTED = Counter(
    "flagsmith_webhooks_accepted",
    "Webhooks on disk and answered with 2xx, by the position of the secret that matched (none: unsigned)",
    ["environment", "secret"],
)
ACCEPTED_BYTES = Counter("flagsmith_webhooks_accepted_bytes", "Bytes of the bodies of accepted webhooks")
REFUSED = Counter("flagsmith_webhooks_refused", "Webhooks not accepted, by reason", ["reason"])
COMMIT_SECONDS = Histogram(
    "flagsmith_inbox_commit_seconds",
    "Seconds that a commit to the inbox took, disk included",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


class InboxCollector(Collector):
    """Size and age of the backlog in all inbox files, including those of dead workers, read at each request."""

    def __init__(self, folder: Path):
        self.folder = folder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        depth, oldest = reader.backlog(self.folder)
        age = time.time() - oldest / 1e6 if oldest else 0
        yield GaugeMetricFamily("flagsmith_inbox_depth", "Webhooks that wait to be landed", depth)
        yield GaugeMetricFamily("flagsmith_inbox_age_seconds", "Age of the oldest webhook that waits", age)
        waiting = GaugeMetricFamily(
            "flagsmith_landing_waiting",
            "Webhooks that this landing lacks, where several are fed",
            labels=["landing"],
        )
        since = GaugeMetricFamily(
            "flagsmith_landing_age_seconds", "Age of the oldest webhook that it lacks", labels=["landing"]
        )
        with contextlib.suppress(sqlite3.Error):
            for name, depth, oldest, _ in Landings(self.folder).waiting():
                waiting.add_metric([name], depth)
                since.add_metric([name], time.time() - oldest / 1e6 if oldest else 0)
        yield from (waiting, since)


def render(inbox_folder: Path) -> bytes:
    """All metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    if SHARED_FOLDER in os.environ:
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    registry.register(InboxCollector(inbox_folder))
    return generate_latest(registry)
