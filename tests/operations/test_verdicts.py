"""After an upgrade from 0.1.0, `status` says once which verdicts of running experiments are others."""

import json

import duckdb
import pytest

from flagsmith_warehouse.loader.operations import verdicts

from .conftest import invoke

KEY = ("checkout", "bought", "blue")


def publish(settings, verdict: str | None, status: str = "running", is_of_today: bool = True) -> None:
    """A published copy with one comparison, in the columns of 0.1.0 or of today."""
    settings.published_file.unlink(missing_ok=True)
    with duckdb.connect(settings.published_file) as copy:
        population = ", 'assigned' as primary_population" if is_of_today else ""
        is_primary = ", population = 'assigned' as is_primary_population" if is_of_today else ""
        copy.execute(
            f"create schema marts; create table marts.dim_experiments as select 'checkout' as experiment_key, ? as status{population}",
            [status],
        )
        copy.execute(
            "create table marts.fct_experiment_results as "
            f"select 'checkout' as experiment_key, 'bought' as metric_key, variation, population, verdict{is_primary} "
            "from (values ('blue', 'assigned', ?), ('blue', 'undisturbed', 'losing'), ('control', 'assigned', null)) "
            "as given(variation, population, verdict)",
            [verdict],
        )


@pytest.fixture
def folder(settings):
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    return settings


WAS = dict(zip(("experiment", "metric", "variation"), KEY, strict=True)) | {"before": "winning"}


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ("winning", []),
        ("no_difference_shown", [WAS | {"now": "no_difference_shown"}]),
        (None, [WAS | {"now": None}]),
    ],
)
def test_status__after_an_upgrade__says_once_what_verdicts_read_and_which_are_others(
    folder, environ, now, changed
):
    publish(folder, "winning", is_of_today=False)
    verdicts.keep_earlier(folder)
    # A refresh that is killed here has said nothing, and the next one keeps the same.
    assert "intention to treat" not in invoke(environ, "status").output
    publish(folder, now)
    for _ in range(2):  # machines do not count as people who were told
        assert json.loads(invoke(environ, "status", "--json").output)["verdicts"] == changed
    told = " ".join(invoke(environ, "status").output.split())
    assert "intention to treat" in told
    assert ("No verdict of a running experiment has changed" in told) == (not changed)
    assert ("winning" in told and (now or "none") in told) or not changed
    again = invoke(environ, "status").output
    assert "intention to treat" not in again
    assert json.loads(invoke(environ, "status", "--json").output)["verdicts"] is None


@pytest.mark.parametrize("copy", ["none", "of today", "no database"])
def test_keep_earlier__no_copy_of_0_1_0__keeps_nothing(folder, copy):
    if copy == "of today":
        publish(folder, "winning")
    elif copy == "no database":
        folder.published_file.write_bytes(b"no database")
    verdicts.keep_earlier(folder)
    assert not folder.verdicts_record.exists() and verdicts.unsaid(folder) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"earlier": [1]}', b'{"earlier": [["a"]]}', b"\xff"]
)
def test_unsaid__a_record_that_is_not_ours__says_nothing(folder, content):
    publish(folder, "winning")
    folder.verdicts_record.write_bytes(content)
    assert not verdicts.unsaid(folder)


def test_unsaid__an_experiment_that_has_ended_since__is_not_compared(folder):
    publish(folder, "winning", is_of_today=False)
    verdicts.keep_earlier(folder)
    publish(folder, "losing", status="ended")
    assert verdicts.unsaid(folder) == []
