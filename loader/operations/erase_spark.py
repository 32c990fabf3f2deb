"""`erase --target spark`: removes a person from the Iceberg tables, their old snapshots and files, and the published copy.

The files of `land --to` are the source of these tables, so they must be rid of the person first: `erase` on a machine that lands
does that. If the command is killed, the same command does the rest.
"""

import contextlib
import functools
import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flagsmith_warehouse.loader.landing import persons
from flagsmith_warehouse.loader.landing.batch import as_bytes
from flagsmith_warehouse.loader.operations import dbt, erase, publish, spark, status
from flagsmith_warehouse.loader.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LANDING = "landing.webhooks"
# The key of an increment's progress in the summary of its snapshot (macros/engine/progress.sql).
PROGRESS = "flagsmith-warehouse.progress."
STATES = {"flag": "flags_hash", "segment": "segments_hash", "trait": "traits_hash"}


def erase_on_spark(
    settings: Settings, identity: str, environment: str | None, on_wait: Callable[[str], None]
) -> dict:
    """Erase an identity from the lake's tables. Returns the receipt. Raises EraseError, SparkError, PublishError, StillHeld."""
    spark.refuse_missing()
    known = spark.arguments_of(settings, {})
    files = _files(settings, known)
    with publish.locked(settings, on_wait):
        erased_at = datetime.now(UTC)
        names = erase.names_of(settings, identity)
        spark.be_the_builder(settings)
        manifest = dbt.parse(settings, *spark.TARGET, *known)
        if (failed := _operation(settings, "hold_build_lock", known)) is not None:
            raise erase.EraseError(f"Nothing was erased: {failed}")
        try:
            lake = Lake(_session(), names, environment)
            tables = [
                f"{each.schema}.{each.alias}"
                for each in manifest.nodes.values()
                if each.package_name == dbt.PACKAGE and each.resource_type == "model"
            ]
            lake.erase(tables, files)
            still_in = lake.still_in(
                f"{each.schema}.{each.alias}"
                for each in manifest.nodes.values()
                if each.resource_type in ("seed", "model", "snapshot")
                and f"{each.schema}.{each.alias}" not in tables
            )
        finally:
            if (failed := _operation(settings, "give_up_build_lock", known)) is not None:
                on_wait(f"The lock of the build could not be given up, and ends after two hours: {failed}")
        receipt = {
            "erased_at": erased_at.isoformat(),
            "target": "spark",
            "environment": environment,
            "identity_hashes": [],
            "rows_deleted": lake.deleted,
            "snapshots_expired": lake.expired,
            "files_removed": lake.removed,
            "still_in": still_in,
        }
        erase.keep_receipt(settings, receipt)
        most_rows = (status.last_refresh(settings) or {}).get("most_rows", spark.MOST_ROWS)
        try:
            done = spark.publish_built(settings, manifest, most_rows, known)
        except (publish.PublishError, spark.SparkError) as error:
            raise erase.without_copy(settings, error) from error
        for line in (*done.left_in_lake, *done.published.left_out):
            on_wait(line)
        erase.publish_elsewhere(settings, on_wait)
    return receipt


def _operation(settings: Settings, name: str, known: list[str]) -> str | None:
    """Run an operation of dbt. Returns why it failed, or None."""
    outcome = dbt.run(settings, "run-operation", f"flagsmith_warehouse.{name}", *spark.TARGET, *known)
    return None if outcome.success else dbt.reason(outcome)


def _session() -> "SparkSession":
    """The session that dbt has opened in this process. Raises EraseError where the target has another method."""
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is None:
        raise erase.EraseError(
            "Nothing was erased: `erase --target spark` needs a target of `method: session`, because it must read every file."
        )
    return session


def _files(settings: Settings, known: list[str]) -> str:
    """The files of `land --to`. Raises EraseError if the project does not say where they are."""
    ours = dbt.our_vars(dbt.project_of(settings)) | json.loads(known[1])
    folder = ours.get("landing_files")
    if not folder:
        raise erase.EraseError(
            "Nothing was erased: `vars: landing_files` is not set in dbt_project.yml, so nobody can say whether files still hold the "
            "person. Set it there, where refresh reads it, too."
        )
    return f"{folder.rstrip('/')}/day=*/hour=*/*.parquet"


@dataclass
class Lake:
    """The tables of a session, and what was deleted from them."""

    session: "SparkSession"
    names: erase.Names
    environment: str | None
    deleted: dict[str, int] = field(default_factory=dict)
    expired: int = 0
    removed: int = 0

    def erase(self, tables: list[str], files: str) -> None:
        """Delete the person's rows from every table, then every older snapshot and every file that no snapshot has."""
        there = [LANDING, *(table for table in tables if self._is_table(table))]
        deliveries = {*self._deliveries(self.session.table(LANDING))}
        for table in there[1:]:
            deliveries |= {*self._deliveries_in_sentences(table)}
        if left := [*self._deliveries(self.session.read.parquet(files))]:
            raise erase.EraseError(
                f"Nothing was erased from the tables: the files below landing_files still hold {len(left):,} deliveries about the "
                "person, and the next build would bring them back. Run `flagsmith-warehouse erase` on a machine that lands there, then "
                "this command again."
            )
        self.session.createDataFrame(
            [(each,) for each in sorted(deliveries)], "delivery_id string"
        ).createOrReplaceTempView("erased")
        for table in there:
            if condition := self._condition(table):
                self._delete(table, condition)
        self._delete_unused_states(there)
        self._delete_outcomes(there)
        for table in there:
            self._forget_history(table)

    def _is_table(self, table: str) -> bool:
        """False for views, and for what is not built."""
        with contextlib.suppress(Exception):
            self._iceberg(table)
            return True
        return False

    def _iceberg(self, table: str):
        """Iceberg's own handle of the table."""
        loader = self.session._jvm.org.apache.iceberg.spark.Spark3Util
        return loader.loadIcebergTable(self.session._jsparkSession, table)

    def _here(self, rows: "DataFrame") -> "DataFrame":
        from pyspark.sql import functions

        return (
            rows if self.environment is None else rows.where(functions.col("environment") == self.environment)
        )

    def _deliveries(self, landing: "DataFrame") -> Iterator[str]:
        """The deliveries about the person. Spark finds candidates, Python decides, as in erase.CANDIDATES."""
        from pyspark.sql.functions import col

        body = col("body")
        spelled = ["\\", "%", *self.names.spellings()]
        may_be = [body.contains(each) for each in spelled]
        may_be += [col("body_encoding") == "base64", ~body.startswith('{"flags": [')]
        candidates = self._here(landing).where(functools.reduce(operator.or_, may_be))
        for row in candidates.select("delivery_id", "body_encoding", "body").toLocalIterator():
            if persons.is_about(as_bytes(row.body_encoding, row.body), self.names):
                yield row.delivery_id

    def _deliveries_in_sentences(self, table: str) -> Iterator[str]:
        rows = self.session.table(table)
        if not {"delivery_id", "environment"} <= {*rows.columns}:
            return
        for column in {*erase.SENTENCES}.intersection(rows.columns):
            found = self._here(rows).where(rows[column].isNotNull()).select("delivery_id", column)
            for delivery_id, text in found.toLocalIterator():
                if persons.is_named_in(text, self.names, as_word=True):
                    yield delivery_id

    def _condition(self, table: str) -> str | None:
        """A condition for the rows about the person; None if the columns cannot tell."""
        columns = self.session.table(table).columns
        if self.environment is None:
            here = "true"
        elif "environment" in columns:
            here = f"environment = {_text(self.environment)}"
        elif "experiment_key" in columns:
            here = f"experiment_key in (select experiment_key from marts.dim_experiments where environment = {_text(self.environment)})"
        else:
            here = None
        conditions = []
        if "identity" in columns and here:
            conditions.append(f"(identity in ({', '.join(map(_text, sorted(self.names.names)))}) and {here})")
        if "delivery_id" in columns:
            conditions.append("delivery_id in (select delivery_id from erased)")
        return " or ".join(conditions) or None

    def _delete(self, table: str, condition: str) -> None:
        rows = self.session.sql(f"select count(*) from {table} where {condition}").first()[0]
        if rows:
            with self._progress(table):
                self.session.sql(f"delete from {table} where {condition}")
            self.deleted[table] = self.deleted.get(table, 0) + rows

    def _delete_unused_states(self, there: list[str]) -> None:
        """Delete bodies, and sets of flags, segments and traits, that only the person had."""
        bodies = next((table for table in there if table.endswith(".stg_flagsmith__payloads")), None)
        if bodies is None:
            return
        self._delete(bodies, f"payload_hash not in (select payload_hash from {LANDING})")
        with self._progress(bodies):
            self.session.sql(
                f"merge into {bodies} as body using (select payload_hash, min(delivery_id) as delivery_id from {LANDING} "
                f"where payload_hash in (select payload_hash from {bodies} where _delivery_id in (select delivery_id from erased)) "
                "group by payload_hash) as landed on body.payload_hash = landed.payload_hash "
                "when matched then update set body._delivery_id = landed.delivery_id"
            )
        spells = [table for table in there if table.endswith(".int_state_spells")]
        for what, column in STATES.items():
            for table in there:
                if table.endswith(f".int_{what}_set_elements"):
                    used = " union all ".join(
                        f"select {column} from {each} where {column} is not null"
                        for each in (bodies, *spells)
                    )
                    self._delete(table, f"{column} not in ({used})")

    def _delete_outcomes(self, there: list[str]) -> None:
        """Delete what was counted for identities that are gone: these tables know them by number only."""
        identities = next((table for table in there if table.endswith(".int_experiment_identities")), None)
        for table in there if identities else ():
            columns = self.session.table(table).columns
            if "identity_number" in columns and "identity" not in columns:
                self._delete(table, f"identity_number not in (select identity_number from {identities})")

    def still_in(self, tables: Iterator[str]) -> list[str]:
        """The tables of people's own that have the identity as the whole value of a column."""
        found = []
        for table in filter(self._is_table, tables):
            rows = self.session.table(table)
            texts = [name for name, kind in rows.dtypes if kind == "string"]
            named = " or ".join(
                f"{each} in ({', '.join(map(_text, sorted(self.names.names)))})" for each in texts
            )
            if texts and (self._here(rows) if "environment" in rows.columns else rows).where(named).count():
                found.append(table)
        return found

    @contextlib.contextmanager
    def _progress(self, table: str) -> Iterator[None]:
        """Let the commits within carry the progress that the table has: older snapshots, which have it, are going to go."""
        key = PROGRESS + table.rpartition(".")[2]
        setting = f"spark.sql.iceberg.snapshot-property.{key}"
        recorded = self.session.sql(
            f"select max_by(summary['{key}'], committed_at) from {table}.snapshots where summary['{key}'] is not null "
            f"and snapshot_id in (select snapshot_id from {table}.history where is_current_ancestor)"
        ).first()[0]
        if recorded is None:
            yield
            return
        self.session.conf.set(setting, recorded)
        try:
            yield
        finally:
            self.session.conf.unset(setting)

    def _forget_history(self, table: str) -> None:
        """Expire all snapshots but the current one, and remove files that it does not have."""
        iceberg = self._iceberg(table)
        current = iceberg.currentSnapshot()
        if current is None:
            return
        if not any(key.startswith(PROGRESS) for key in current.summary()):
            with self._progress(table):  # an empty commit, which carries it
                self.session.sql(f"insert into {table} select * from {table} limit 0")
        actions = self.session._jvm.org.apache.iceberg.spark.actions.SparkActions.get()
        later = int(datetime.now(UTC).timestamp() * 1000) + 1000
        iceberg = self._iceberg(table)
        expired = actions.expireSnapshots(iceberg).expireOlderThan(later).retainLast(1).execute()
        self.expired += expired.deletedManifestListsCount()
        self.removed += expired.deletedDataFilesCount() + expired.deletedManifestsCount()
        orphans = actions.deleteOrphanFiles(self._iceberg(table)).olderThan(later).execute()
        self.removed += sum(1 for _ in orphans.orphanFileLocations())
        self.session.catalog.refreshTable(table)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
