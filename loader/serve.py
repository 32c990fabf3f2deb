"""The web server: Granian with several worker processes, each with an inbox file of its own."""

import logging.config
import os
import pkgutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from granian.constants import HTTPModes, Interfaces, Loops
from granian.server import Server

from loader import log
from loader.filesystem import refuse_network
from loader.settings import read, require_environments

# Connections of a worker, idle ones included: a proxy keeps some open.
CONNECTIONS = 1024
# Threads of a worker hand Python's lock over after this many seconds, not after 5 ms as they do if not told:
# connections, the application and commits have one each, and none has more than some 0.2 ms to do at a time.
SWITCH_SECONDS = 0.0003
# The longest that a worker may take to answer what it has received when it is told to stop.
STOP_SECONDS = 2


def serve(host: str, port: int, workers: int, application: str = "loader.receive:create_app") -> None:
    """Serve until told to stop (SIGTERM, SIGINT): then answer what was received, and return.

    SIGHUP replaces the workers one by one by new ones that have read the secrets anew.
    """
    logging.config.dictConfig(log.CONFIGURATION)
    settings = read()
    require_environments(settings)
    refuse_network(settings.warehouse_dir)
    with tempfile.TemporaryDirectory(prefix="flagsmith-warehouse-metrics-") as shared_folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared_folder  # before loader.metrics is imported
        Server(
            application,
            address=host,
            port=port,
            workers=workers,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            loop=Loops.asyncio,
            backpressure=CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=STOP_SECONDS,
            log_dictconfig=log.CONFIGURATION,
        ).serve(target_loader=create_worker)


def create_worker(application: str) -> Callable:
    """The application of one worker process, which ends when the server does, however that ended."""
    # Until Granian listens to it, SIGTERM would only reach what this process has inherited of the server.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    sys.setswitchinterval(SWITCH_SECONDS)
    from loader.front import Front  # not before the folder of the metrics is known

    return Front(pkgutil.resolve_name(application)())


def _end_with(parent: int) -> None:
    """A server killed with SIGKILL cannot stop its workers, and these would keep the port."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
