"""`erase --target spark`: removes a person from the Iceberg tables, their old snapshots and files, and the published copy.

The files of `land --to` are the source of these tables, so they must be rid of the person first: `erase` on a machine that lands
does that. If the command is killed, the same command does the rest.
"""

import contextlib
import functools
import json
import operator
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flagsmith_warehouse.loader.landing import persons
from flagsmith_warehouse.loader.landing.batch import as_bytes
from flagsmith_warehouse.loader.operations import dbt, erase, publish, spark, status
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import first_line

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest
    from pyspark.sql import DataFrame, SparkSession

# The key of an increment's progress in the summary of its snapshot (macros/engine/progress.sql).
PROGRESS = "flagsmith-warehouse.progress."
STATES = {"flag": "flags_hash", "segment": "segments_hash", "trait": "traits_hash"}
# Vars that may name a relation of people's own.
RELATIONS = ("experiments", "metrics", "experiment_metrics", "variants", "identity_map", "test_identities")
RELATIONS += ("conversion_events", "flagsmith_events_table", "experiment_statistics")
# The lock of a build ends after two hours.
SECONDS_BETWEEN_RENEWALS = 600


def erase_on_spark(
    settings: Settings, identity: str, environment: str | None, on_wait: Callable[[str], None]
) -> dict:
    """Erase an identity from the lake's tables. Returns the receipt. Raises EraseError, SparkError, PublishError, StillHeld."""
    spark.refuse_missing()
    known = spark.arguments_of(settings, {})
    ours = dbt.our_vars(dbt.project_of(settings)) | json.loads(known[1])
    files = _files(ours)
    with publish.locked(settings, on_wait):
        erased_at = datetime.now(UTC)
        names = erase.names_of(settings, identity)
        manifest = dbt.parse(settings, *spark.TARGET, *known)
        with spark.as_the_builder(settings, known, on_wait):
            hold = Hold(settings, known)
            lake = Lake(_session(), places_of(manifest, ours), names, environment, hold.renew)
            lake.erase(files)
            still_in, not_looked_through = lake.still_in()
            erase.clean_records(settings, names)
            receipt = {
                "erased_at": erased_at.isoformat(),
                "target": "spark",
                "environment": environment,
                "identity_hashes": [],
                "rows_deleted": lake.deleted,
                "snapshots_expired": lake.expired,
                "files_removed": lake.removed,
                "still_in": still_in,
                "not_looked_through": not_looked_through,
            }
            erase.keep_receipt(settings, receipt)
            _publish(settings, manifest, known, on_wait)
        erase.publish_elsewhere(settings, on_wait)
    return receipt


def _publish(
    settings: Settings, manifest: "Manifest", known: list[str], on_wait: Callable[[str], None]
) -> None:
    """Publish what is left. If that fails, remove the published copy, because it contains the person. Raises EraseError."""
    record = status.last_refresh(settings)
    if not status.is_of_spark(record):
        on_wait(
            "The published copy was not made of the tables of Spark, so it stays: `erase` without --target publishes it anew."
        )
        return
    try:
        done = spark.publish_built(
            settings, manifest, (record or {}).get("most_rows", spark.MOST_ROWS), known
        )
    except (publish.PublishError, spark.SparkError) as error:
        raise erase.without_copy(settings, error) from error
    for line in (*done.left_in_lake, *done.published.left_out):
        on_wait(line)


class Hold:
    """The lock of a build, taken when this is made."""

    def __init__(self, settings: Settings, known: list[str]):
        self.settings, self.known = settings, known
        self._take("Nothing was erased")

    def renew(self) -> None:
        """Call it between tables. Raises EraseError if another build has taken over, because this one stood still for too long."""
        if time.monotonic() - self.renewed_at > SECONDS_BETWEEN_RENEWALS:
            self._take("Erasing stopped half-way, so run the same command again when that has ended")

    def _take(self, otherwise: str) -> None:
        if failed := spark.run_operation(self.settings, "hold_build_lock", self.known):
            is_in_use = any(sign in failed for sign in spark.IN_USE)
            raise (spark.CatalogueInUse if is_in_use else erase.EraseError)(f"{otherwise}: {failed}")
        self.renewed_at = time.monotonic()


def _session() -> "SparkSession":
    """The session that dbt has opened in this process. Raises EraseError where the target has another method."""
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        session = SparkSession.active()
        # Iceberg asks for the session of this thread, and has none where dbt ran before in this process.
        session._jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(session._jsparkSession)
        return session
    except PySparkRuntimeError as error:
        raise erase.EraseError(
            "Nothing was erased: `erase --target spark` needs a target of `method: session`, because it must read every file."
        ) from error


def _files(ours: dict) -> str:
    """The files of `land --to`. Raises EraseError if the project does not say where they are."""
    folder = ours.get("landing_files")
    if not folder:
        raise erase.EraseError(
            "Nothing was erased: `vars: landing_files` is not set in dbt_project.yml, so nobody can say whether files still hold the "
            "person. Set it there, where refresh reads it, too."
        )
    return f"{folder.rstrip('/')}/day=*/hour=*/*.parquet"


@dataclass(frozen=True)
class Places:
    """Where tables are, each as `schema.name`: the landing, our models by name, and the schemas in which people's own may be.

    In `our_schemas` there is no model of the host's project, so whatever is in them is ours.
    """

    landing: str
    models: dict[str, str]
    our_schemas: frozenset[str]
    schemas: frozenset[str]


def places_of(manifest: "Manifest", ours: dict) -> Places:
    """The places that dbt will use: a host's project may name schemas as it likes."""
    landing = manifest.sources[f"source.{dbt.PACKAGE}.landing.webhooks"]
    nodes = [each for each in manifest.nodes.values() if each.resource_type in ("seed", "model", "snapshot")]
    models = [each for each in nodes if each.package_name == dbt.PACKAGE and each.resource_type == "model"]
    of_others = {each.schema for each in nodes if each not in models} | {landing.schema}
    named = [re.fullmatch(r"`?(\w+)`?\.`?\w+`?", str(ours.get(var) or "").strip()) for var in RELATIONS]
    return Places(
        landing=f"{landing.schema}.{landing.identifier}",
        models={each.name: f"{each.schema}.{each.alias}" for each in models},
        our_schemas=frozenset({each.schema for each in models} - of_others),
        schemas=frozenset({each.schema for each in nodes} | of_others | {each[1] for each in named if each}),
    )


@dataclass
class Lake:
    """The tables of a session, and what was deleted from them. `renew` is called between tables."""

    session: "SparkSession"
    places: Places
    names: erase.Names
    environment: str | None
    renew: Callable[[], None]
    deleted: dict[str, int] = field(default_factory=dict)
    expired: int = 0
    removed: int = 0
    # What is there of our models, and the names of their tables.
    there: dict[str, str] = field(default_factory=dict)

    def erase(self, files: str) -> None:
        """Delete the person's rows from every table, then every older snapshot and every file that no snapshot has."""
        landing = self.places.landing
        tables = self._tables()
        self.names = self._mapped()
        deliveries = {*self._deliveries(self._read(landing))}
        for table in tables:
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
        # The landing is the last: if this is killed, the next one finds the same deliveries there.
        for table in (*tables, landing):
            if condition := self._condition(table):
                self._delete(table, condition)
        self._delete_unused_states()
        self._delete_outcomes(tables)
        for table in (*tables, landing):
            self._forget_history(table)

    def _mapped(self) -> "erase.Names":
        """The names with those in identity_map. Raises EraseError if it cannot be read."""
        identity_map = self.places.models.get("int_declared_identity_map")
        if identity_map is None or self._kind(identity_map) is None:
            return self.names
        is_named = f"{self._is_named('identity')} or {self._is_named('user_id')}"
        query = f"select identity, user_id from {_quoted(identity_map)} where {is_named}"
        try:
            return self.names.mapped([tuple(row) for row in self.session.sql(query).collect()])
        except Exception as error:
            raise erase.EraseError(
                f"Nothing was erased: identity_map cannot be read, so nobody can say which identities are the person's ({error})."
            ) from error

    def _tables(self) -> list[str]:
        """The tables of our models that are built, and of those that were once. Raises EraseError where one cannot be erased from."""
        if self._kind(self.places.landing) is None:
            raise erase.EraseError(
                f"Nothing was erased: there is no {self.places.landing} in this catalogue, so nothing was ever built here."
            )
        recorded = {table: name for name, table in self.places.models.items()}
        found = {table: None for schema in sorted(self.places.our_schemas) for table in self._in(schema)}
        tables = []
        for table in (self.places.landing, *(recorded | found)):
            kind = self._kind(table)
            if kind in (None, "view"):
                continue
            why = f"it is a table of {kind}" if kind != "iceberg" else self._keeps_deleted_rows(table)
            if why:
                raise erase.EraseError(
                    f"Nothing was erased: {table} cannot be erased from, because {why}. `erase --target spark` knows Iceberg tables "
                    "whose deletes are copy-on-write. Erase from it yourself, or build it anew."
                )
            if table != self.places.landing:
                tables.append(table)
                self.there |= {recorded[table]: table} if table in recorded else {}
        return tables

    def _in(self, schema: str) -> list[str]:
        """The tables and views of a schema, each as `schema.name`."""
        try:
            if not self.session.catalog.databaseExists(f"`{schema}`"):
                return []
            rows = self.session.sql(f"show tables in `{schema}`").collect()
        except Exception as error:
            raise _unknown(f"the schema {schema}", error) from error
        return [f"{schema}.{row.tableName}" for row in rows if not row.isTemporary]

    def _kind(self, table: str) -> str | None:
        """`iceberg`, `view`, another provider, or None where there is nothing of that name. Raises EraseError if Spark cannot say."""
        try:
            if not self.session.catalog.tableExists(_quoted(table)):
                return None
            rows = self.session.sql(f"describe table extended {_quoted(table)}").collect()
        except Exception as error:
            raise _unknown(table, error) from error
        found = {row.col_name: row.data_type for row in rows}
        if found.get("Type") == "VIEW" or any(key.startswith("View ") for key in found):
            return "view"
        return (found.get("Provider") or "an unknown kind").lower()

    def _keeps_deleted_rows(self, table: str) -> str | None:
        """Why a delete would leave the rows in a data file; None if it would not."""
        iceberg = self._iceberg(table)
        current, properties = iceberg.currentSnapshot(), iceberg.properties()
        modes = [properties.get(f"write.{what}.mode") for what in ("delete", "merge", "update")]
        if "merge-on-read" in modes:
            return "its deletes are merge-on-read"
        if current is not None and (current.summary().get("total-delete-files") or "0") != "0":
            return "it has delete files"
        return None

    def _read(self, table: str) -> "DataFrame":
        return self.session.table(_quoted(table))

    def _iceberg(self, table: str):
        """Iceberg's own handle of the table."""
        loader = self.session._jvm.org.apache.iceberg.spark.Spark3Util
        return loader.loadIcebergTable(self.session._jsparkSession, _quoted(table))

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
        rows = self._read(table)
        if not {"delivery_id", "environment"} <= {*rows.columns}:
            return
        for column in {*erase.SENTENCES}.intersection(rows.columns):
            found = self._here(rows).where(rows[column].isNotNull()).select("delivery_id", column)
            for delivery_id, text in found.toLocalIterator():
                if persons.is_named_in(text, self.names, as_word=True):
                    yield delivery_id

    def _condition(self, table: str) -> str | None:
        """A condition for the rows about the person; None if the columns cannot tell."""
        columns = self._read(table).columns
        if self.environment is None:
            here = "true"
        elif "environment" in columns:
            here = f"environment = {_text(self.environment)}"
        elif "experiment_key" in columns and (experiments := self.there.get("dim_experiments")):
            here = (
                f"experiment_key in (select experiment_key from {_quoted(experiments)} "
                f"where environment = {_text(self.environment)})"
            )
        else:
            here = None
        conditions = []
        if "identity" in columns and here:
            conditions.append(f"({self._is_one_of('identity', self.names.known_to(columns))} and {here})")
        if "delivery_id" in columns:
            conditions.append("delivery_id in (select delivery_id from erased)")
        return " or ".join(conditions) or None

    def _is_named(self, column: str) -> str:
        """A condition: the column's whole value is a name of the person."""
        return self._is_one_of(column, self.names.known_to([]))

    @staticmethod
    def _is_one_of(column: str, known: list[str]) -> str:
        return f"`{column}` in ({', '.join(map(_text, known))})" if known else "false"

    def _delete(self, table: str, condition: str) -> None:
        self.renew()
        rows = self.session.sql(f"select count(*) from {_quoted(table)} where {condition}").first()[0]
        if rows:
            with self._progress(table):
                self.session.sql(f"delete from {_quoted(table)} where {condition}")
            self.deleted[table] = self.deleted.get(table, 0) + rows

    def _delete_unused_states(self) -> None:
        """Delete bodies, and sets of flags, segments and traits, that only the person had."""
        bodies = self.there.get("stg_flagsmith__payloads")
        if bodies is None:
            return
        landing = _quoted(self.places.landing)
        self._delete(
            bodies, f"payload_hash not in (select payload_hash from {landing} where payload_hash is not null)"
        )
        with self._progress(bodies):
            self.session.sql(
                f"merge into {_quoted(bodies)} as body using (select payload_hash, min(delivery_id) as delivery_id from {landing} "
                f"where payload_hash in (select payload_hash from {_quoted(bodies)} "
                f"where _delivery_id not in (select delivery_id from {landing} where delivery_id is not null)) "
                "group by payload_hash) as landed on body.payload_hash = landed.payload_hash "
                "when matched then update set body._delivery_id = landed.delivery_id"
            )
        spells = self.there.get("int_state_spells")
        for what, column in STATES.items():
            if table := self.there.get(f"int_{what}_set_elements"):
                used = " union all ".join(
                    f"select {column} from {_quoted(each)} where {column} is not null"
                    for each in filter(None, (bodies, spells))
                )
                self._delete(table, f"{column} not in ({used})")

    def _delete_outcomes(self, tables: list[str]) -> None:
        """Delete what was counted for identities that are gone: these tables know them by number only."""
        numbered = {table: self._read(table).columns for table in tables}
        numbered = {table: columns for table, columns in numbered.items() if "identity_number" in columns}
        left = " union all ".join(
            f"select identity_number from {_quoted(table)} where identity_number is not null"
            for table, columns in numbered.items()
            if "identity" in columns
        )
        for table, columns in numbered.items():
            if left and "identity" not in columns:
                self._delete(table, f"identity_number not in ({left})")

    def still_in(self) -> tuple[list[str], list[str]]:
        """The relations of people's own that have the identity as the whole value of a column, and what was not looked through.

        All relations are looked through in the schemas of the project and of relations that its vars name; in no other schema.
        """
        ours = {self.places.landing, *self.places.models.values(), *self.there.values()}
        found, unread = [], []
        for schema in sorted(self.places.schemas | self.places.our_schemas):
            for table in self._in(schema):
                if table in ours:
                    continue
                try:
                    if self._has_person(table):
                        found.append(table)
                except Exception as error:
                    unread.append(f"{table}: {first_line(error)}")
        others = {row[0] for row in self.session.sql("show schemas").collect()} - self.places.schemas
        return found, [*unread, *(f"the schema {each}" for each in sorted(others - self.places.our_schemas))]

    def _has_person(self, table: str) -> bool:
        rows = self._read(table)
        texts = [name for name, kind in rows.dtypes if kind.startswith(("string", "varchar", "char"))]
        named = " or ".join(map(self._is_named, texts))
        return bool(
            texts and (self._here(rows) if "environment" in rows.columns else rows).where(named).count()
        )

    @contextlib.contextmanager
    def _progress(self, table: str) -> Iterator[None]:
        """Let the commits within carry the progress that the table has: older snapshots, which have it, are going to go."""
        model = next((name for name, place in self.places.models.items() if place == table), None)
        if model is None:
            yield
            return
        key = PROGRESS + model
        setting = f"spark.sql.iceberg.snapshot-property.{key}"
        recorded = self.session.sql(
            f"select max_by(summary['{key}'], committed_at) from {_quoted(table)}.snapshots where summary['{key}'] is not null "
            f"and snapshot_id in (select snapshot_id from {_quoted(table)}.history where is_current_ancestor)"
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
        self.renew()  # another build's unfinished files would go, too
        iceberg = self._iceberg(table)
        current = iceberg.currentSnapshot()
        if current is None:
            return
        if not any(key.startswith(PROGRESS) for key in current.summary()):
            with self._progress(table):  # an empty commit, which carries it
                self.session.sql(f"insert into {_quoted(table)} select * from {_quoted(table)} limit 0")
        actions = self.session._jvm.org.apache.iceberg.spark.actions.SparkActions.get()
        later = int(datetime.now(UTC).timestamp() * 1000) + 1000
        iceberg = self._iceberg(table)
        expired = actions.expireSnapshots(iceberg).expireOlderThan(later).retainLast(1).execute()
        self.expired += expired.deletedManifestListsCount()
        self.removed += expired.deletedDataFilesCount() + expired.deletedManifestsCount()
        orphans = actions.deleteOrphanFiles(self._iceberg(table)).olderThan(later).execute()
        self.removed += sum(1 for _ in orphans.orphanFileLocations())
        self.session.catalog.refreshTable(_quoted(table))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(table: str) -> str:
    return ".".join(f"`{part}`" for part in table.split(".", 1))


def _unknown(what: str, error: Exception) -> erase.EraseError:
    return erase.EraseError(
        f"Nothing was erased: Spark cannot say what {what} is ({first_line(error)}). Run the same command again when the cause is gone."
    )
