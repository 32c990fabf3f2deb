"""Loaders on object storage and a build on a Spark cluster, with kills: `python -m tests.cluster [--all]`, or `make cluster`.

Starts an S3 emulator, Spark's standalone master and two workers, and lands simulated traffic from two inboxes. A loader is
killed while it lands, a worker and a build while the build runs. After each of three parts the cluster builds an increment.
Prints a table, and exits with 1 unless nothing is lost or doubled and the marts equal those that DuckDB builds of the same files.

`--kills 20` kills loaders, workers and builds at random moments instead, until there were so many. `--small` has no cluster, but
Spark in the process of the build, a few models, one increment, and one loader that is killed.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import boto3
import duckdb
import pyspark
from pyspark.sql import SparkSession

from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.landing.schema import TABLES
from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.world import World

from ..spark.compare import differences, of_file, of_session

PROJECT = Path(__file__).parents[2]
LAKE = "s3://lake/landed"
FLAGS = ("fct_flag_exposures", "fct_flag_assignments", "dim_flags")
MARTS = "select table_name from information_schema.tables where table_schema = 'marts' order by 1"
PARTS, PER_LOADER = 3, 60
STARTED = time.monotonic()
# What the small form builds and compares.
FEW = ("fct_flag_exposures",)
SDK = "software.amazon.awssdk"
# What Ivy fetches, with what these need: tests/cluster/jars.sha256 has the SHA-256 of every file.
JARS = (
    "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.11.0",
    "org.xerial:sqlite-jdbc:3.50.3.0",
    "org.apache.hadoop:hadoop-aws:3.4.2",
    *(f"{SDK}:{module}:2.29.52" for module in ("s3", "s3-transfer-manager", "sts")),
)
SUBMIT = (
    "--driver-memory 1g --conf spark.executor.memory=512m --conf spark.executor.cores=1 --conf spark.driver.host=127.0.0.1 "
    "--conf spark.ui.enabled=false --conf spark.sql.codegen.wholeStage=false --conf spark.sql.adaptive.enabled=false "
    "--conf spark.log.level=OFF --driver-java-options '-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m' pyspark-shell"
)


class Cluster:
    """The processes of one run, in one folder."""

    def __init__(self, folder: Path, processes: contextlib.ExitStack, is_everything=False, is_small=False):
        self.folder, self.processes = folder, processes
        self.is_everything, self.is_small = is_everything, is_small
        self.s3, self.master_port = free_port(), free_port()
        self.environ = os.environ | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.s3}",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_SUBMIT_ARGS": SUBMIT,
            "CLUSTER_MASTER": "local[2]" if is_small else f"spark://127.0.0.1:{self.master_port}",
            "CLUSTER_PACKAGES": ",".join(JARS),
            "CLUSTER_CATALOGUE": str(folder / "catalogue.sqlite"),
            "CLUSTER_TABLES": "s3://lake/tables",
            "FLAGSMITH_WEBHOOK_SECRETS": '{"example": ["secret"]}',
            "DO_NOT_TRACK": "1",
        }

    def start(self) -> None:
        self._start(
            "s3", [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(self.s3)]
        )
        wait_for(self.s3)
        self.bucket().create()
        if self.is_small:
            return
        self._start(
            "master", [*self._spark("master.Master"), "--host", "127.0.0.1", "--port", str(self.master_port)]
        )
        wait_for(self.master_port)
        self.workers = [self.start_worker(number) for number in (1, 2)]

    def start_worker(self, number: int) -> subprocess.Popen:
        place = ["--work-dir", str(self.folder / f"worker{number}"), "--cores", "1", "--memory", "600m"]
        return self._start(
            f"worker{number}", [*self._spark("worker.Worker"), *place, self.environ["CLUSTER_MASTER"]]
        )

    def _spark(self, name: str) -> list[str]:
        home = Path(pyspark.__file__).parent
        port = "--webui-port"
        return [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", port, "0"]

    def _start(self, name: str, command: list) -> subprocess.Popen:
        log = self.processes.enter_context((self.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log, start_new_session=True)
        self.processes.callback(kill, process)
        return process

    def bucket(self):
        return boto3.resource(
            "s3",
            endpoint_url=self.environ["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="id",
            aws_secret_access_key="secret",
        ).Bucket("lake")

    def receive(self, loader: int, deliveries: Iterator) -> int:
        """Put webhooks into the inbox of a loader, as its web workers do."""
        inbox, count = Inbox(self.folder / f"loader{loader}" / "inbox"), 0
        for delivery in deliveries:
            inbox.put(delivery.environment, True, delivery.body)
            count += 1
        inbox.close()
        return count

    def land(self, loader: int) -> subprocess.Popen:
        """Start `land --to` of a loader."""
        command = [Path(sys.executable).with_name("flagsmith-warehouse"), "land", "--to", LAKE, "--only"]
        folder = str(self.folder / f"loader{loader}")
        log = self.processes.enter_context((self.folder / f"loader{loader}.log").open("ab"))
        environ = self.environ | {"FLAGSMITH_WAREHOUSE_DIR": folder}
        return subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)

    def land_until_it_writes(self, loader: int) -> subprocess.Popen:
        """Start `land --to`, and kill it as soon as it has written down what it is doing."""

        def written() -> list[tuple[str, int, int]]:
            found = (self.folder / f"loader{loader}" / "inbox").glob("landings.db*")
            with contextlib.suppress(FileNotFoundError):
                return sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found)
            return []

        before, process = written(), self.land(loader)
        while process.poll() is None and written() == before:
            time.sleep(0.005)
        kill(process)
        return process

    def build(self, builder: str = "cluster") -> subprocess.Popen:
        """Start a build on the cluster."""
        where = ["--project-dir", str(PROJECT), "--profiles-dir", str(Path(__file__).parent)]
        where += [
            "--target-path",
            str(self.folder / f"target-{builder}"),
            "--log-path",
            str(self.folder / builder),
        ]
        arguments = [
            "run",
            *self.selection(),
            *where,
            "--no-use-colors",
            "--vars",
            json.dumps({"landing_files": LAKE}),
        ]
        return self._build(builder, arguments)

    def selection(self) -> list[str]:
        marts = FEW if self.is_small else FLAGS
        return [] if self.is_everything else ["--select", *(f"+{mart}" for mart in marts)]

    def _build(self, builder: str, arguments: list[str]) -> subprocess.Popen:
        log = self.processes.enter_context((self.folder / f"{builder}.out").open("ab"))
        environ = self.environ | {"FLAGSMITH_WAREHOUSE_DIR": str(self.folder), "FLAGSMITH_BUILDER": builder}
        command = [Path(sys.executable).with_name("dbt"), *arguments]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        self.processes.callback(kill, process)
        return process

    def models_built(self, builder: str = "cluster") -> int:
        return (
            (self.folder / f"{builder}.out")
            .read_text(encoding="utf-8", errors="replace")
            .count("OK created sql")
        )

    def finish(self, process: subprocess.Popen, what: str) -> None:
        """Wait for it. Exits where it fails."""
        if process.wait(timeout=3_600):
            sys.exit(f"{what} failed; the logs are in {self.folder}")

    def download(self) -> Path:
        """The landed files, in a folder."""
        for each in self.bucket().objects.filter(Prefix="landed/"):
            if each.key.endswith(".parquet"):
                file = self.folder / each.key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(each.get()["Body"].read())
        return self.folder / "landed"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every mart, not only those of flags")
    parser.add_argument("--small", action="store_true", help="a few models, without a cluster")
    parser.add_argument(
        "--kills", type=int, metavar="NUMBER", help="kill loaders, workers and builds at random"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (1)")
    parser.add_argument("--folder", type=Path, help="keep everything there")
    given = parser.parse_args()
    with contextlib.ExitStack() as processes:
        folder = given.folder or processes.enter_context(tempfile.TemporaryDirectory(prefix="cluster-"))
        folder = Path(folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        cluster = Cluster(folder, processes, given.all, given.small)
        cluster.start()
        lines = list(
            run_killed(cluster, given.kills, random.Random(given.seed)) if given.kills else run(cluster)
        )
    for is_right, what, figure in lines:
        print(f"{'ok  ' if is_right else 'FAIL'}  {what:<62}{figure}")
    sys.exit(not all(is_right for is_right, _, _ in lines))


def simulated() -> Iterator:
    return iter(World(replace(MONTH, deliveries=1_000, identities=40)).deliveries())


def run(cluster: Cluster) -> Iterator[tuple[bool, str, str]]:
    """What was checked: whether it is right, what it is, and the figure."""
    deliveries = simulated()
    sent = 0
    for part in range(1, (2 if cluster.is_small else PARTS) + 1):
        sent += sum(cluster.receive(loader, islice(deliveries, PER_LOADER)) for loader in (1, 2))
        if part == 2:
            killed = cluster.land_until_it_writes(1)
            yield killed.returncode < 0, "a loader was killed while it landed", ""
        for process in [cluster.land(1), cluster.land(2)]:
            cluster.finish(process, "landing")
        say(f"part {part} is landed")
        yield from build(cluster, part)
        say(f"part {part} is built")
        if part == 1:
            yield have_sums(), "the jars are those that were pinned", ""
    yield from compare(cluster, cluster.download(), sent)


def run_killed(cluster: Cluster, kills: int, chance: random.Random) -> Iterator[tuple[bool, str, str]]:
    """Receive, land and build again and again, each killed at a random moment, until there were so many kills. Then once in peace."""
    deliveries, sent = simulated(), 0
    killed = {"loaders": 0, "workers": 0, "builds": 0}

    def kill_later(process: subprocess.Popen, what: str, seconds: float) -> bool:
        """Wait for the moment, and kill what is still at work."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0, seconds))
        if process.poll() is not None or sum(killed.values()) >= kills:
            return False
        kill(process)
        killed[what] += 1
        return True

    while sum(killed.values()) < kills:
        sent += sum(cluster.receive(loader, islice(deliveries, 10)) for loader in (1, 2))
        for process in [cluster.land(1), cluster.land(2)]:
            kill_later(process, "loaders", 3)
            process.wait()
        process = cluster.build()
        number = chance.randrange(2)
        if kill_later(cluster.workers[number], "workers", 60):
            cluster.workers[number] = cluster.start_worker(number + 1)
        kill_later(process, "builds", 60)
        if process.wait() > 0:
            sys.exit(f"a build failed that nobody killed; the logs are in {cluster.folder}")
        say(f"killed so far: {killed}")
    for process in [cluster.land(1), cluster.land(2)]:
        cluster.finish(process, "landing")
    cluster.finish(cluster.build(), "the last build")
    yield all(killed.values()), "killed at random", ", ".join(f"{n} {what}" for what, n in killed.items())
    yield from compare(cluster, cluster.download(), sent)


def build(cluster: Cluster, part: int) -> Iterator[tuple[bool, str, str]]:
    """Build a part. In the second, a worker is killed meanwhile; in the third, the build itself. Nothing in the small form."""
    before = cluster.models_built() if part > 1 else 0
    process = cluster.build()
    if cluster.is_small:
        part = 1
    if part > 1:
        while process.poll() is None and cluster.models_built() < before + 3:
            time.sleep(0.2)
    if part == 2:
        kill(cluster.workers[0])
        yield process.poll() is None, "a worker was killed while models were built", ""
    if part == 3:
        kill(process)
        cluster.start_worker(1)
        yield (
            process.returncode < 0,
            "the build was killed",
            f"after {cluster.models_built() - before} models",
        )
        other = cluster.build("another")
        refused = (
            other.wait(timeout=600) != 0
            and "Another build is using" in (cluster.folder / "another.out").read_text()
        )
        yield refused, "another builder is refused meanwhile, by name", ""
        process = cluster.build()
    cluster.finish(process, f"the build of part {part}")


def compare(cluster: Cluster, landed: Path, sent: int) -> Iterator[tuple[bool, str, str]]:
    """Nothing lost, nothing doubled, and the marts that DuckDB makes of the same files."""
    file = cluster.folder / "warehouse.duckdb"
    files = f"read_parquet('{landed}/*/*/*.parquet', hive_partitioning = false)"
    with duckdb.connect(str(file)) as warehouse:
        rows, distinct = warehouse.execute(
            f"select count(*), count(distinct delivery_id) from {files}"
        ).fetchone()
        yield (
            (rows, distinct) == (sent, sent),
            "deliveries sent, in files, distinct",
            f"{sent:,} {rows:,} {distinct:,}",
        )
        warehouse.execute(TABLES)
        warehouse.execute(f"insert into landing.webhooks by name from {files}")
    target = ["--target", "duckdb", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    target += [
        "--target-path",
        str(cluster.folder / "target-duckdb"),
        "--log-path",
        str(cluster.folder / "duckdb"),
    ]
    cluster.finish(cluster._build("duckdb", ["run", *cluster.selection(), *target]), "the build on DuckDB")
    session = open_lake(cluster)
    with duckdb.connect(str(file), read_only=True) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        marts = FEW if cluster.is_small else FLAGS
        if cluster.is_everything:
            marts = [name for (name,) in warehouse.execute(MARTS).fetchall()]
        expected, built = of_file(warehouse), of_session(session)
        for mart in marts:
            found = differences(expected, built, [mart])
            print("\n".join(found), end="\n" if found else "")
            yield not found, f"{mart} equals DuckDB's, row for row", f"{len(expected(mart)[1]):,} rows"
    session.stop()


def open_lake(cluster: Cluster) -> SparkSession:
    """A session in this process on the same catalogue and storage."""
    import yaml
    from jinja2 import Template

    os.environ.update(cluster.environ | {"CLUSTER_MASTER": "local[1]"})
    profile = Template((Path(__file__).parent / "profiles.yml").read_text()).render(env_var=os.environ.get)
    settings = yaml.safe_load(profile)["flagsmith_warehouse"]["outputs"]["spark"]["server_side_parameters"]
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def have_sums() -> bool:
    """Whether every file that Ivy has fetched is the one that is pinned."""
    folder = Path.home() / ".ivy2.5.2" / "jars"
    pinned = (Path(__file__).parent / "jars.sha256").read_text(encoding="utf-8").split("\n")
    return all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        for digest, name in (line.split() for line in pinned if line)
    )


def kill(process: subprocess.Popen) -> None:
    """Kill it and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    sys.exit(f"nothing listens at port {port}")


def say(text: str) -> None:
    print(f"{time.monotonic() - STARTED:6.0f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
