"""`erase --target spark` without Spark: where tables are, and what stops it. `python -m tests.spark --erase` does the rest."""

from types import SimpleNamespace

import pytest

from flagsmith_warehouse.loader.operations import erase_spark, spark
from flagsmith_warehouse.loader.operations.erase import EraseError, Names

OURS = "flagsmith_warehouse"


def node(name, schema, package=OURS, kind="model", alias=None):
    return SimpleNamespace(
        name=name, schema=schema, package_name=package, resource_type=kind, alias=alias or name
    )


@pytest.fixture
def manifest():
    nodes = [
        node("dim_flags", "served", alias="flags"),
        node("int_states", "work"),
        node("metrics", "seeds", "host", "seed"),
        node("report", "work", "host"),
        node("assert_one", "tests", kind="test"),
    ]
    landing = SimpleNamespace(schema="raw", identifier="bodies")
    return SimpleNamespace(
        nodes={str(number): each for number, each in enumerate(nodes)},
        sources={f"source.{OURS}.landing.webhooks": landing},
    )


def test_places__a_host_names_schemas__are_those_of_dbt(manifest):
    places = erase_spark.places_of(
        manifest, {"conversion_events": "`analytics`.events", "experiments": None, "metrics": "files/"}
    )
    assert places.landing == "raw.bodies"
    assert places.models == {"dim_flags": "served.flags", "int_states": "work.int_states"}
    assert places.our_schemas == {"served"}  # `work` has a model of the host
    assert places.schemas == {"raw", "served", "work", "seeds", "analytics"}


def lake(session=None, names=("ann",)):
    places = erase_spark.Places("raw.bodies", {}, frozenset(), frozenset())
    return erase_spark.Lake(session, places, Names(frozenset(names)), None, lambda: None)


def test_is_named__half_a_character__matches_no_row():
    assert lake(names=["\ud800"])._is_named("identity") == "false"
    assert lake(names=["\ud800", "o'neil"])._is_named("identity") == "`identity` in ('o\\'neil')"


@pytest.mark.parametrize("where", ["tableExists", "sql"])
def test_kind__spark_cannot_say__nothing_is_erased(where):
    def fail(*_):
        raise RuntimeError("no metastore answers")

    session = SimpleNamespace(
        catalog=SimpleNamespace(tableExists=fail if where == "tableExists" else lambda name: True), sql=fail
    )
    with pytest.raises(EraseError, match=r"Nothing was erased.* raw.bodies .*no metastore answers"):
        lake(session)._tables()


def test_tables__no_landing__says_that_nothing_was_built():
    session = SimpleNamespace(catalog=SimpleNamespace(tableExists=lambda name: False))
    with pytest.raises(EraseError, match=r"there is no raw\.bodies in this catalogue"):
        lake(session)._tables()


def test_hold__another_build_has_taken_over__stops_between_tables(monkeypatch):
    clock, answers = [0.0], [None]
    monkeypatch.setattr(erase_spark.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(spark, "run_operation", lambda *_: answers.pop(0))
    hold = erase_spark.Hold(None, [])
    clock[0] = 599
    hold.renew()
    answers.append(None)
    clock[0] = 601
    hold.renew()
    assert not answers
    answers.append("Another build is using this catalogue: refresh on other")
    clock[0] = 1300
    with pytest.raises(EraseError, match=r"half-way.*refresh on other"):
        hold.renew()


@pytest.mark.parametrize(
    "failed, error",
    [("Another build is using this catalogue", EraseError), (spark.IN_USE[0], spark.CatalogueInUse)],
)
def test_hold__it_cannot_be_taken__nothing_is_erased(monkeypatch, failed, error):
    monkeypatch.setattr(spark, "run_operation", lambda *_: failed)
    with pytest.raises(error, match="Nothing was erased"):
        erase_spark.Hold(None, [])
