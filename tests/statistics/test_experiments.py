"""Who is compared with whom, and what is said where nothing can be compared. One small experiment a claim."""

import math
import re

import pytest
from scipy import stats

from tests.marts.warehouse import PROJECT

from .experiments import ExperimentWarehouse, clock, evaluation, event, experiment, link, metric


def split(name: str, size: int, weight: float = 50.0, hours: float = 1, **flag) -> list:
    """So many identities in control and as many in blue, evaluated once."""
    return [
        evaluation(f"{name}-{variation}-{i}", hours, variation, share, **flag)
        for variation, share in (("control", None), ("blue", weight))
        for i in range(size)
    ]


def reweighted(environment: str, moved: int = 40) -> list:
    """200 identities at 50/50, then 200 at 20/80; `moved` of the early control come again, as blue."""
    early = split("early", 100, environment=environment)
    late = [
        evaluation(
            f"late-{i}",
            30 + i / 100,
            *(("blue", 80.0) if i % 5 else ("control", None)),
            environment=environment,
        )
        for i in range(200)
    ]
    again = [
        evaluation(f"early-control-{i}", 40, "blue", 80.0, environment=environment) for i in range(moved)
    ]
    return early + late + again


WEBHOOKS = [
    *split("fair", 60, environment="fair"),
    *reweighted("reweighted"),
    # Outside the rollout everybody looks like control.
    *[evaluation(f"outside-{i}", 1, environment="rollout") for i in range(166)],
    *split("inside", 15, environment="rollout", reason="segment_override"),
    evaluation("enters", 1, environment="rollout"),
    evaluation("enters", 2, "blue", 50.0, environment="rollout", reason="segment_override"),
    # Each sees a second variation for another reason.
    evaluation("overridden", 1, environment="why"),
    evaluation("overridden", 2, "blue", 50.0, environment="why", reason="identity_override"),
    evaluation("segmented", 1, environment="why"),
    evaluation("segmented", 2, "blue", 50.0, environment="why", reason="segment_override"),
    evaluation("switched off", 1, "blue", 50.0, environment="why"),
    evaluation("switched off", 2.5, "off", environment="why"),  # a pause of that moment
    evaluation("steady", 1, "blue", 50.0, environment="why"),
    evaluation("steady", 2, "blue", 50.0, environment="why"),
    evaluation("after the end", 1, "blue", 50.0, environment="why"),
    evaluation("after the end", 30, "control", None, environment="why"),
    evaluation("before the start", -5, "control", None, environment="why"),
    evaluation("before the start", 3, "blue", 50.0, environment="why"),
    *[evaluation(f"blue-{i}", 1, "blue", 50.0, environment="no control") for i in range(60)],
    *[evaluation(f"control-{i}", 1, environment="only control") for i in range(60)],
    evaluation("early bird", -100, environment="not begun"),
    # Names that are hashed on one side only.
    *[evaluation(f"{i:032x}", 1, environment="hashed identities") for i in range(4)],
    evaluation("ann", 24 * 43, environment="hashed outcomes"),
    *split("one", 1, environment="one each"),
    *split("two", 2, environment="two each"),
    *[
        clock(24 * 50, environment)
        for environment in ("fair", "one each", "two each", "hashed identities", "hashed outcomes")
    ],
]
EVENTS = [
    *[event(f"fair-blue-{i}", "buy", 2 + i, 10 + i) for i in range(30)],
    *[event(f"fair-control-{i}", "buy", 2 + i, 10 + i) for i in range(10)],
    event("fair-blue-0", "buy", 0.5, 1000),  # before its first evaluation
    event("fair-blue-0", "buy", 90, 30),
    event("fair-blue-1", "buy", 24 * 40, 1000),  # after the end
    event("stranger", "buy", 5, 10),
    *[event(f"fair-{v}-{i}", "open", 1.5) for v in ("blue", "control") for i in range(40)],
    *[event(f"fair-{v}-{i}", "seldom", 3) for v, n in (("blue", 20), ("control", 4)) for i in range(n)],
    *[
        event(f"fair-{v}-{i}", "seldom by now", 3)
        for v, n in (("blue", 4), ("control", 20))
        for i in range(n)
    ],
    *[event(name, "buy", 2, environment="hashed identities") for name in ("ann", "0f", "G" * 32)],
    event(f"{3:032x}", "buy", 2, environment="hashed identities"),
    *[event(f"{i:032x}", "buy", 24 * 44, environment="hashed outcomes") for i in (255, 256)],
    *[event(f"{n}-blue-{i}", "buy", 2) for n in ("one", "two") for i in range(1)],
]
DECISION_METHODS = ("flagsmith", "bayesian", "frequentist", "sequential")
EXPERIMENTS = [
    experiment("fair", environment="fair", ended_at="2026-02-01", activation_event="open"),
    experiment("reweighted", environment="reweighted"),
    experiment("reweighted, naive", environment="reweighted", expected_weights="control=20;blue=80"),
    experiment("rollout", environment="rollout", assignment_reason="segment_override"),
    experiment("why", environment="why", ended_at="2026-01-02"),
    experiment("no control", environment="no control"),
    experiment("only control", environment="only control"),
    experiment("not begun", environment="not begun"),
    experiment("unheard of", environment="prodcution"),
    experiment("other feature", environment="fair", feature_name="chekout"),
    experiment("one each", environment="one each"),
    experiment("hashed identities", environment="hashed identities"),
    experiment("hashed outcomes", environment="hashed outcomes", started_at="2026-02-12"),
    experiment("two each", environment="two each"),
    experiment("99.9", environment="fair", expected_weights="control=49.9;blue=50.0", ended_at="2026-02-01"),
    experiment(
        "zero weight", environment="fair", expected_weights="control=40;blue=60;red=0", ended_at="2026-02-01"
    ),
    *[
        experiment(method, environment="fair", ended_at="2026-02-01", decision_method=method)
        for method in DECISION_METHODS
    ],
    experiment("backwards", environment="fair", ended_at="2025-01-01"),
]
METRICS = [
    metric("bought"),
    metric("revenue", event_name="buy", aggregation="sum"),
    metric("purchases", event_name="buy", aggregation="count"),
    metric("basket", event_name="buy", aggregation="mean"),
    metric("soon", event_name="buy", conversion_window_hours=12),
    metric("capped", event_name="buy", aggregation="sum", winsorise_percentile=0.86),
    metric("seldom"),
    metric("seldom by now"),
    metric("complaints", event_name="buy", direction="lower_is_better"),
    metric("clicks", event_name="click", direction="lower_is_better"),
]
METRICS[0]["event_name"] = "buy"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("experiments"))
    warehouse.land(WEBHOOKS)
    warehouse.give("experiments", EXPERIMENTS)
    warehouse.give("metrics", METRICS)
    warehouse.give(
        "experiment_metrics",
        [link(one["experiment_key"], "bought") for one in EXPERIMENTS]
        + [link("fair", one["metric_key"], "secondary") for one in METRICS[1:-2]]
        + [link("fair", "clicks", "guardrail")]
        + [link(method, "complaints", "guardrail") for method in DECISION_METHODS],
    )
    warehouse.give("conversion_events", EVENTS)
    warehouse.run()
    return warehouse


@pytest.fixture(scope="module")
def assignments(warehouse):
    rows = warehouse.mart("fct_experiment_assignments")
    return {(row["experiment_key"], row["identity"]): row for row in rows}


@pytest.fixture(scope="module")
def health(warehouse):
    rows = warehouse.mart("fct_experiment_health")
    return {(row["experiment_key"], row["check_name"], row["epoch"]): row for row in rows}


@pytest.fixture(scope="module")
def results(warehouse):
    rows = warehouse.mart("fct_experiment_results")
    return {(r["experiment_key"], r["metric_key"], r["variation"], r["population"]): r for r in rows}


# Assignments


def test_assignments__identity_outside_the_rollout__is_not_in_the_experiment(assignments):
    inside = [identity for key, identity in assignments if key == "rollout"]
    assert len(inside) == 31 and not any(identity.startswith("outside") for identity in inside)


def test_assignments__identity_enters_the_rollout__first_evaluation_within_it_counts(assignments):
    enters = assignments["rollout", "enters"]
    assert (enters["variation"], enters["is_quarantined"]) == ("blue", False)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("overridden", "identity_override_added"),
        ("segmented", "segment_override_added"),
        ("switched off", None),
        ("steady", None),
        ("after the end", None),
        ("before the start", None),
    ],
)
def test_assignments__second_variation__quarantined_and_says_why(assignments, identity, reason):
    row = assignments["why", identity]
    assert (row["is_quarantined"], row["quarantine_reason"]) == (reason is not None, reason)


def test_assignments__weights_changed__those_who_moved_are_quarantined_for_it(assignments):
    moved = [row for (key, _), row in assignments.items() if key == "reweighted" and row["is_quarantined"]]
    assert len(moved) == 40 and {row["quarantine_reason"] for row in moved} == {"weights_changed"}
    assert {row["variation"] for row in moved} == {"control"}


def test_assignments__weights_changed__two_epochs(assignments, warehouse):
    epochs = {row["epoch"] for (key, _), row in assignments.items() if key == "reweighted"}
    assert epochs == {1, 2}
    weights = warehouse.query(
        "select epoch, variation, weight from intermediate.int_experiment_epochs"
        " where experiment_key = 'reweighted'"
    )
    assert {tuple(row.values()) for row in weights} == {
        (1, "control", 50),
        (1, "blue", 50),
        (2, "control", 20),
        (2, "blue", 80),
    }


def test_assignments__activation_event__its_first_time_after_the_evaluation(assignments):
    assert assignments["fair", "fair-blue-39"]["activated_at"] is not None
    assert assignments["fair", "fair-blue-40"]["activated_at"] is None


# Health


def test_health__weights_changed__no_false_alarm_where_the_naive_test_raises_one(health):
    assert health["reweighted", "sample_ratio", 0]["status"] == "ok"
    assert {health["reweighted", "sample_ratio", epoch]["status"] for epoch in (1, 2)} == {"ok"}
    assert health["reweighted, naive", "sample_ratio", 0]["status"] == "alarm"


def test_health__moved_identities__uneven_quarantine_is_told(health):
    assert health["reweighted", "quarantined_share", 0]["status"] == "warn"
    assert health["reweighted", "quarantined_balance", 0]["status"] == "warn"


def test_health__nobody_in_control__alarm(health):
    assert health["no control", "control_present", 0]["status"] == "alarm"


def test_health__one_variation_only__told(health):
    assert health["only control", "several_variations", 0]["status"] == "warn"


@pytest.mark.parametrize(
    ("experiment_key", "words"),
    [
        ("not begun", "before its declared start"),
        ("unheard of", "Nothing was ever received from the environment prodcution"),
        ("other feature", "nobody was given the feature chekout for the declared reason"),
    ],
)
def test_health__nobody_assigned__says_what_to_look_at(health, experiment_key, words):
    row = health[experiment_key, "has_begun", 0]
    assert row["status"] == "warn" and words in row["message"]


def test_health__declaration_wrong__alarm_with_the_reason(health):
    row = health["backwards", "declaration", 0]
    assert row["status"] == "alarm" and "ended_at is not after started_at" in row["message"]


def test_health__every_message__has_all_its_names_filled(health):
    assert all(row["message"] and not re.search("[{}]", row["message"]) for row in health.values())


def test_check_texts__every_name_in_braces__is_one_that_the_model_fills(warehouse):
    """Given a sentence that few experiments ever show; then a misspelt name in it is found all the same."""
    rows = warehouse.query("select sentence from intermediate.int_experiment_check_texts")
    names = {name for row in rows for name in re.findall("{(.*?)}", row["sentence"])}
    model = (PROJECT / "models/intermediate/experiments/checks/int_experiment_checks.sql").read_text()
    assert names and names <= set(re.findall("^ *'([a-z_]+)': ", model, re.MULTILINE))


def test_check_texts__checks__are_those_of_the_documentation(warehouse):
    rows = warehouse.query("select distinct check_name from intermediate.int_experiment_check_texts")
    section = (PROJECT / "docs/experiments.md").read_text().split("## Checks")[1].split("\n## ")[0]
    documented = re.findall(r"^\| ([a-z_]+)(?: \*)? \|", section, re.MULTILINE)
    assert {row["check_name"] for row in rows} == set(documented) - {"check"}


def test_health__weights_that_sum_to_99_9__are_read_as_shares(health):
    expected = [120 * 49.9 / 99.9, 120 * 50.0 / 99.9]
    p_value = stats.chisquare([60, 60], expected).pvalue
    assert math.isclose(health["99.9", "sample_ratio", 0]["value"], p_value, rel_tol=1e-9)


def test_health__variation_without_weight__is_not_expected(health):
    p_value = stats.chisquare([60, 60], [48, 72]).pvalue
    assert math.isclose(health["zero weight", "sample_ratio", 0]["value"], p_value, rel_tol=1e-9)


def test_health__outcomes__those_of_strangers_and_early_ones_are_counted(health):
    unassigned = health["fair", "outcomes_without_assignment", 0]
    early = health["fair", "outcomes_before_exposure", 0]
    assert unassigned["message"].startswith("3 of 93 outcomes")
    assert early["message"].startswith("1 of 93 outcomes")


@pytest.mark.parametrize(
    ("experiment_key", "words"),
    [
        ("hashed identities", "Every identity is a hash"),
        ("hashed outcomes", "Each of these outcomes has a hash"),
    ],
)
def test_health__names_hashed_on_one_side_only__is_said(health, experiment_key, words):
    """Given many outcomes of strangers, and everybody is hashed on one side and nobody on the other."""
    row = health[experiment_key, "outcomes_without_assignment", 0]
    assert row["status"] == "warn" and words in row["message"]
    assert words not in health["one each", "outcomes_without_assignment", 0]["message"]


# Results


def values(results, metric_key, variation="blue", population="assigned"):
    return results["fair", metric_key, variation, population]


@pytest.mark.parametrize(
    ("metric_key", "outcome_sum"),
    [
        ("bought", 30),
        ("purchases", 31),
        ("revenue", sum(10 + i for i in range(30)) + 30),
        ("basket", sum(10 + i for i in range(1, 30)) + 20),
        ("soon", 11),
    ],
)
def test_results__aggregations__what_an_identity_did_from_its_first_evaluation_on(
    results, metric_key, outcome_sum
):
    assert values(results, metric_key)["outcome_sum"] == outcome_sum


def test_results__winsorised__capped_at_the_percentile_of_all_assigned(results):
    totals = sorted(
        [10 + i + (30 if i == 0 else 0) for i in range(30)] + [10 + i for i in range(10)] + [0] * 80
    )
    cap = totals[math.ceil(0.86 * 120) - 1]
    expected = sum(min(10 + i + (30 if i == 0 else 0), cap) for i in range(30))
    assert values(results, "capped")["outcome_sum"] == expected < values(results, "revenue")["outcome_sum"]


def test_results__activated__only_those_and_all_they_did(results):
    assert values(results, "bought", population="activated")["identities"] == 40
    assert values(results, "bought")["identities"] == 60


def test_results__no_event_at_all__zero_and_a_reason(results):
    row = values(results, "clicks")
    assert row["status"] == "control_mean_zero" and row["verdict"] == "collecting_data"
    assert row["guardrail_status"] == "collecting_data" and row["mean"] == 0


@pytest.mark.parametrize("metric_key", ["seldom", "seldom by now"])
def test_results__few_conversions_in_one_arm__is_not_decided(results, metric_key):
    row = values(results, metric_key)
    assert row["status"] == "ok" and row["verdict"] == "collecting_data"
    assert row["verdict_reason"] == "An arm has fewer than 5 conversions."


@pytest.mark.parametrize(
    ("experiment_key", "variation", "status", "verdict"),
    [
        ("not begun", "control", "not_started", "collecting_data"),
        ("unheard of", "control", "not_started", "collecting_data"),
        ("no control", "blue", "no_control_identities", "do_not_trust"),
        ("no control", "control", "no_control_identities", "do_not_trust"),
        ("only control", "control", "control", "control"),
        ("one each", "blue", "control_mean_zero", "collecting_data"),
        ("zero weight", "blue", "ok", "inconclusive"),
    ],
)
def test_results__degenerate__a_row_that_says_so(results, experiment_key, variation, status, verdict):
    row = results[experiment_key, "bought", variation, "assigned"]
    assert (row["status"], row["verdict"]) == (status, verdict) and row["verdict_reason"]


@pytest.mark.parametrize("method", DECISION_METHODS)
def test_results__thirty_of_sixty_against_ten__decided_by_every_method_but_the_patient_one(results, method):
    """The sequential interval pays for looking every day: at 120 identities it does not decide yet."""
    better = results[method, "bought", "blue", "assigned"]
    worse = results[method, "complaints", "blue", "assigned"]
    patient = method == "sequential"
    assert better["verdict"] == ("inconclusive" if patient else "winning")
    assert worse["verdict"] == ("inconclusive" if patient else "losing")
    assert worse["guardrail_status"] == ("no_harm_shown" if patient else "harmed")
    assert better["guardrail_status"] == "not_a_guardrail"


def test_results__never__a_null_that_is_not_explained(results):
    """A comparison without a p-value has another status than ok."""
    for row in results.values():
        assert (row["relative_p_value"] is not None) == (row["status"] == "ok"), row
        assert None not in (
            row["verdict"],
            row["verdict_reason"],
            row["guardrail_status"],
            row["cuped_status"],
        )


def test_results__wrong_declaration__is_not_computed(results):
    assert not [key for key in results if key[0] == "backwards"]


def test_results__several_comparisons__holm_and_benjamini_hochberg(results):
    family = [values(results, one["metric_key"]) for one in METRICS[:-2]]
    family = sorted(
        (row for row in family if row["relative_p_value"] is not None), key=lambda r: r["relative_p_value"]
    )
    p = [row["relative_p_value"] for row in family]
    size = len(p)
    holm = [max(min(1, (size - j) * p[j]) for j in range(i + 1)) for i in range(size)]
    benjamini_hochberg = [min(min(1, size * p[j] / (j + 1)) for j in range(i, size)) for i in range(size)]
    assert size == 8 and {row["comparisons"] for row in family} == {8}
    assert [row["p_value_holm"] for row in family] == pytest.approx(holm, rel=1e-12)
    assert [row["p_value_benjamini_hochberg"] for row in family] == pytest.approx(
        benjamini_hochberg, rel=1e-12
    )


def test_results__flagsmith_columns__its_own_formulas(results):
    """m = S/n, s² = (Q - S²/n)/(n - 1); the lift's standard error by the delta method; 1.96."""
    treatment, control = values(results, "revenue"), values(results, "revenue", "control")

    def mean_and_error(row):
        mean, n = row["outcome_sum"] / row["identities"], row["identities"]
        return mean, (row["outcome_sum_squares"] - row["outcome_sum"] ** 2 / n) / (n - 1) / n

    (m_t, e_t), (m_c, e_c) = mean_and_error(treatment), mean_and_error(control)
    lift, error = (m_t - m_c) / m_c, math.sqrt(e_t / m_c**2 + m_t**2 * e_c / m_c**4)
    chance = 0.5 * math.erfc(-lift / error / math.sqrt(2))
    expected = [lift, error, lift - 1.96 * error, lift + 1.96 * error, chance]
    names = ["lift", "standard_error", "low", "high", "chance_to_win"]
    assert [treatment[f"flagsmith_{name}"] for name in names] == pytest.approx(expected, rel=1e-12)


def test_daily__last_day__equals_the_total(warehouse, results):
    last = warehouse.query(
        "select * from marts.fct_experiment_results_daily qualify day is not distinct from"
        " max(day) over (partition by experiment_key)"
    )
    for row in last:
        total = results[row["experiment_key"], row["metric_key"], row["variation"], row["population"]]
        assert {name: total[name] for name in row if name != "day"} == {
            n: v for n, v in row.items() if n != "day"
        }


def test_power__uncertain__days_left_until_the_target(warehouse):
    rows = warehouse.query(
        "select * from marts.fct_experiment_power where experiment_key = 'fair' and metric_key = 'revenue'"
        " and population = 'assigned'"
    )
    assert rows[0]["status"] == "collecting_data"
    ratio = rows[0]["minimum_detectable_lift"] / 0.05
    assert math.isclose(rows[0]["days_left"], rows[0]["days_so_far"] * (ratio**2 - 1), rel_tol=1e-12)
