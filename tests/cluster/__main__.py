"""Loaders on object storage and a build on a Spark cluster, with kills: `python -m tests.cluster [--all]`, or `make cluster`.

Starts an S3 emulator, Spark's standalone master and two workers, and lands simulated traffic from two inboxes. A loader is
killed while it lands, a worker and a build while the build runs. After each of three parts the cluster builds an increment.
Prints a table, and exits with 1 unless nothing is lost or doubled and the marts equal those that DuckDB builds of the same files.
"""

import argparse
import contextlib
import hashlib
import json
import os
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
SDK = "software.amazon.awssdk"
# What Ivy fetches, with the SHA-256 of each. What these need is pinned by them, and checked by Ivy with Maven's own sums.
JARS = {
    "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.11.0": "d6ea6c5d099288daeb7d5a92061bd3d7d8f296492632b42378e5f2f0e3066242",
    "org.xerial:sqlite-jdbc:3.50.3.0": "a3f53a2aa15ae9425a9e793bbe9c8e5288febeb4b65ef5c1a4e80d4c2045cf08",
    "org.apache.hadoop:hadoop-aws:3.4.2": "d2d24e6b715b5656b9d238bf13b6682a07e2004dd36aad74a73aeb854319f4d9",
    f"{SDK}:s3:2.29.52": "abaedea7e68063e9c4ab090f80d14b9884c57b50953bfe6e5acaa23025609efa",
    f"{SDK}:s3-transfer-manager:2.29.52": None,
    f"{SDK}:sts:2.29.52": None,
}
SUBMIT = (
    "--driver-memory 1g --conf spark.executor.memory=512m --conf spark.executor.cores=1 --conf spark.driver.host=127.0.0.1 "
    "--conf spark.ui.enabled=false --conf spark.sql.codegen.wholeStage=false --conf spark.sql.adaptive.enabled=false "
    "--conf spark.log.level=OFF --driver-java-options '-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m' pyspark-shell"
)


class Cluster:
    """The processes of one run, in one folder."""

    def __init__(self, folder: Path, processes: contextlib.ExitStack, is_everything: bool):
        self.folder, self.processes, self.is_everything = folder, processes, is_everything
        self.s3, self.master_port = free_port(), free_port()
        self.environ = os.environ | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.s3}",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_SUBMIT_ARGS": SUBMIT,
            "CLUSTER_MASTER": f"spark://127.0.0.1:{self.master_port}",
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
        return [] if self.is_everything else ["--select", *(f"+{mart}" for mart in FLAGS)]

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
    parser.add_argument("--folder", type=Path, help="keep everything there")
    given = parser.parse_args()
    with contextlib.ExitStack() as processes:
        folder = given.folder or processes.enter_context(tempfile.TemporaryDirectory(prefix="cluster-"))
        folder = Path(folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        cluster = Cluster(folder, processes, given.all)
        cluster.start()
        lines = list(run(cluster))
    for is_right, what, figure in lines:
        print(f"{'ok  ' if is_right else 'FAIL'}  {what:<62}{figure}")
    sys.exit(not all(is_right for is_right, _, _ in lines))


def run(cluster: Cluster) -> Iterator[tuple[bool, str, str]]:
    """What was checked: whether it is right, what it is, and the figure."""
    deliveries = iter(World(replace(MONTH, deliveries=400, identities=40)).deliveries())
    sent = 0
    for part in range(1, PARTS + 1):
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
            yield all(map(has_sum, JARS)), "the jars are those that were pinned", ""
    folder = cluster.download()
    yield from compare(cluster, folder, sent)


def build(cluster: Cluster, part: int) -> Iterator[tuple[bool, str, str]]:
    """Build a part. In the second, a worker is killed meanwhile; in the third, the build itself."""
    before = cluster.models_built() if part > 1 else 0
    process = cluster.build()
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
        marts = [name for (name,) in warehouse.execute(MARTS).fetchall()] if cluster.is_everything else FLAGS
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


def has_sum(jar: str) -> bool:
    """Whether the fetched file is the one that is pinned."""
    organisation, name, version = jar.split(":")
    file = Path.home() / ".ivy2.5.2" / "jars" / f"{organisation}_{name}-{version}.jar"
    return JARS[jar] is None or hashlib.sha256(file.read_bytes()).hexdigest() == JARS[jar]


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
    print(text, flush=True)


if __name__ == "__main__":
    main()
