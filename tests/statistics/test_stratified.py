"""Lifts over several epochs equal post-stratification computed from every identity's values, by every method."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from .experiments import SUMS, ExperimentWarehouse, arm, clock, experiment, link, metric

ALPHA = 0.1
TUNING = 700.0
# Identities of each variation, epoch by epoch.
SIZES = {"control": [60, 25, 90], "blue": [50, 110, 20], "green": [30, 40, 1]}
METRICS = {
    "sum": metric("sum", aggregation="sum"),
    "occurrence": metric("occurrence"),
    "ratio": metric("ratio", aggregation="ratio", denominator_event_name="visit"),
    "cuped": metric("cuped", aggregation="sum", before_days=7),
    "relative prior": metric(
        "relative prior", aggregation="sum", prior_mean=0.05, prior_standard_deviation=0.1
    ),
    "absolute prior": metric(
        "absolute prior",
        aggregation="sum",
        before_days=7,
        prior_mean=-0.3,
        prior_standard_deviation=0.8,
        prior_type="absolute",
        direction="lower_is_better",
    ),
}


def made(seed: int) -> dict:
    """What each identity did (outcome, denominator, before), by metric, variation and epoch; outcomes rise by epoch."""
    dice = np.random.default_rng(seed)
    values = {}
    for name in METRICS:
        for variation, sizes in SIZES.items():
            for epoch, size in enumerate(sizes, 1):
                before = dice.gamma(2, 3, size) * epoch
                outcome = dice.gamma(2, 2, size) * epoch + 0.4 * before + (variation == "blue")
                if name == "occurrence":
                    outcome = (dice.random(size) < 0.2 * epoch).astype(float)
                values[name, variation, epoch] = (outcome, dice.poisson(3, size) + 1.0, before)
    return values


VALUES = made(16)


def sums_of(outcome, denominator, before) -> dict:
    pairs = (outcome, denominator, before)
    sums = [one for part in pairs for one in (part.sum(), (part * part).sum())]
    products = {
        "outcome_denominator_products": outcome @ denominator,
        "outcome_before_products": outcome @ before,
    }
    squares = [name for name in SUMS if name not in products]
    return {name: float(value) for name, value in (dict(zip(squares, sums, strict=True)) | products).items()}


@dataclass
class Side:
    """One arm: its weighted means, the variances and covariances of these, and the degrees of freedom."""

    n: int
    mean: float
    error: float  # the squared standard error of the mean
    before: float
    before_error: float
    before_covariance: float
    freedom: float


def spread(name: str, values: np.ndarray) -> float:
    return values.mean() * (1 - values.mean()) if name == "occurrence" else values.var(ddof=1)


def side(name: str, variation: str, weights: dict[int, float]) -> Side:
    strata = [(weight, *VALUES[name, variation, epoch]) for epoch, weight in weights.items()]
    terms = [w * w * spread(name, y) / len(y) for w, y, _, _ in strata]
    mean = sum(w * y.mean() for w, y, _, _ in strata)
    error = sum(terms)
    freedom = error**2 / sum(t * t / (len(y) - 1) for t, (_, y, _, _) in zip(terms, strata, strict=True))
    if name == "ratio":
        below = sum(w * d.mean() for w, _, d, _ in strata)
        mean /= below
        # A ratio's error is that of the mean of its residuals (delta method).
        error = sum(w * w * ((y - mean * d) / below).var(ddof=1) / len(y) for w, y, d, _ in strata)
    return Side(
        n=sum(len(y) for _, y, _, _ in strata),
        mean=mean,
        error=error,
        before=sum(w * b.mean() for w, _, _, b in strata),
        before_error=sum(w * w * b.var(ddof=1) / len(b) for w, _, _, b in strata),
        before_covariance=sum(w * w * np.cov(y, b)[0, 1] / len(y) for w, y, _, b in strata),
        freedom=freedom,
    )


def theta(name: str, variation: str, weights: dict[int, float]) -> float:
    covariance = variance = 0.0
    for epoch, weight in weights.items():
        both = [
            np.concatenate(part)
            for part in zip(*(VALUES[name, v, epoch] for v in ("control", variation)), strict=True)
        ]
        covariance += weight**2 * np.cov(both[0], both[2])[0, 1] / len(both[0])
        variance += weight**2 * both[2].var(ddof=1) / len(both[0])
    return covariance / variance


def expected(name: str, variation: str, difference: str, is_adjusted: bool) -> dict[str, float]:
    compared = [epoch for epoch, size in enumerate(SIZES[variation], 1) if size >= 2]
    sizes = {epoch: sum(arm[epoch - 1] for arm in SIZES.values()) for epoch in compared}
    weights = {epoch: size / sum(sizes.values()) for epoch, size in sizes.items()}
    a, b = side(name, "control", weights), side(name, variation, weights)
    t = theta(name, variation, weights) if is_adjusted else 0.0
    errors = [s.error + t * t * s.before_error - 2 * t * s.before_covariance for s in (a, b)]
    lift = b.mean - t * b.before - (a.mean - t * a.before)
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / a.freedom + errors[1] ** 2 / b.freedom)
    variance = sum(errors)
    if difference == "relative":
        lift /= a.mean
        variance = errors[1] / a.mean**2 + errors[0] * b.mean**2 / a.mean**4
    error, n = math.sqrt(variance), a.n + b.n
    half = stats.t.ppf(1 - ALPHA / 2, freedom) * error
    rho = (math.log(1 - 2 * math.log(ALPHA)) - 2 * math.log(ALPHA)) / TUNING
    information = n * rho + 1
    width = (
        error
        * math.sqrt(n)
        * math.sqrt(2 * information * math.log(math.sqrt(information) / ALPHA) / (n * n * rho))
    )
    found = {
        "lift": lift,
        "standard_error": error,
        "degrees_of_freedom": freedom,
        "low": lift - half,
        "high": lift + half,
        "p_value": 2 * stats.t.sf(abs(lift) / error, freedom),
        "sequential_low": lift - width,
        "sequential_high": lift + width,
        "sequential_p_value": min(
            1.0, math.sqrt(information) * math.exp(-rho * n * (lift / error) ** 2 / (2 * information))
        ),
    }
    return found | posterior(METRICS[name], difference, a.mean, lift, error)


def posterior(
    declared: dict, difference: str, control_mean: float, lift: float, error: float
) -> dict[str, float]:
    mean, deviation = lift, error
    if "prior_mean" in declared:
        scale = {
            ("relative", "absolute"): abs(control_mean),
            ("absolute", "relative"): 1 / abs(control_mean),
        }.get((declared.get("prior_type", "relative"), difference), 1.0)
        prior = stats.norm(declared["prior_mean"] * scale, declared["prior_standard_deviation"] * scale)
        precision = 1 / error**2 + 1 / prior.var()
        mean, deviation = (lift / error**2 + prior.mean() / prior.var()) / precision, precision**-0.5
    believed = stats.norm(mean, deviation)
    # The mean of what the other arm would have had: an integral, and no formula.
    above = believed.expect(
        lambda x: max(x, 0.0), lb=max(0.0, mean - 12 * deviation), ub=max(0.0, mean + 12 * deviation)
    )
    better, worse = (
        (above - mean, above) if declared["direction"] == "lower_is_better" else (above, above - mean)
    )
    return {
        "bayesian_lift": mean,
        "bayesian_low": believed.ppf(ALPHA / 2),
        "bayesian_high": believed.ppf(1 - ALPHA / 2),
        "chance_to_win": believed.cdf(0) if declared["direction"] == "lower_is_better" else believed.sf(0),
        "loss_of_control": better,
        "loss_of_variation": worse,
    }


def statistics() -> list[dict]:
    """The sums of each epoch and variation of the experiments."""
    sums = [
        arm("epochs", name, variation, len(parts[0]), **sums_of(*parts)) | {"epoch": epoch}
        for (name, variation, epoch), parts in VALUES.items()
    ]
    # Blue and control never meet in an epoch.
    sums += [
        arm("alone", "sum", variation, 30, **sums_of(*(part[:30] for part in VALUES["sum", "blue", 1])))
        | {"epoch": epoch}
        for epoch, variation in enumerate(("control", "blue"), 1)
    ] + [
        arm("alone", "sum", variation, 0) | {"epoch": epoch}
        for epoch, variation in enumerate(("blue", "control"), 1)
    ]
    # Control meets blue in the first epoch, green in the second, and nobody in the third.
    sums += [
        arm(
            "one after another",
            "sum",
            variation,
            n,
            **sums_of(*(part[:n] for part in VALUES["sum", variation, epoch])),
        )
        | {"epoch": epoch}
        for variation, sizes in {"control": (60, 25, 90), "blue": (50, 0, 0), "green": (1, 40, 0)}.items()
        for epoch, n in enumerate(sizes, 1)
    ]
    # In the epoch in which both arms are, nobody visited.
    sums += [
        arm(
            "no visits",
            "ratio",
            variation,
            n,
            denominator_sum=visits,
            outcome_sum=visits,
            outcome_sum_squares=visits,
        )
        | {"epoch": epoch}
        for variation, sizes in {"control": ((20, 0), (20, 30)), "blue": ((20, 0), (1, 5))}.items()
        for epoch, (n, visits) in enumerate(sizes, 1)
    ]
    return sums


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("stratified"))
    warehouse.land([clock(10)])
    warehouse.give(
        "experiments",
        [
            experiment("epochs", alpha=ALPHA, sequential_tuning=TUNING),
            *(experiment(key, alpha=ALPHA) for key in ("alone", "one after another", "no visits")),
        ],
    )
    warehouse.give("metrics", list(METRICS.values()))
    warehouse.give(
        "experiment_metrics",
        [link("epochs", name) for name in METRICS]
        + [link(key, "sum") for key in ("alone", "one after another")]
        + [link("no visits", "ratio")],
    )
    warehouse.give("statistics", statistics())
    warehouse.run()
    return {
        (row["experiment_key"], row["metric_key"], row["variation"]): row
        for row in warehouse.mart("fct_experiment_results")
    }


@pytest.mark.parametrize("variation", ["blue", "green"])
@pytest.mark.parametrize("difference", ["absolute", "relative"])
@pytest.mark.parametrize("name", METRICS)
def test_stratified__three_epochs__every_figure_is_that_of_numpy(results, name, difference, variation):
    """Given three epochs, in the last of which green has one identity; then green is compared in the first two."""
    row = results["epochs", name, variation]
    wrong = {}
    for prefix in ["", "cuped_"] if "before_days" in METRICS[name] else [""]:
        for column, value in expected(name, variation, difference, bool(prefix)).items():
            found = row[f"{prefix}{difference}_{column}"]
            if not math.isclose(found, value, rel_tol=1e-9, abs_tol=1e-9):
                wrong[prefix + column] = (found, value)
    assert not wrong


def test_stratified__arms_that_share_no_epoch__no_comparison_and_the_means_as_they_are(results):
    row = results["alone", "sum", "blue"]
    assert (row["status"], row["relative_lift"], row["verdict"]) == (
        "too_few_identities",
        None,
        "collecting_data",
    )
    assert math.isclose(row["mean"], VALUES["sum", "blue", 1][0][:30].mean(), rel_tol=1e-9)
    assert row["mean"] == row["control_mean"]


def test_stratified__variations_compared_in_different_epochs__control_has_the_mean_of_these_epochs(results):
    """Each epoch counts by its identities: 60 + 50 + 1 in the first, 25 + 40 in the second; the third is compared with nothing."""
    first, second = (VALUES["sum", "control", epoch][0].mean() for epoch in (1, 2))
    rows = {variation: results["one after another", "sum", variation] for variation in SIZES}
    assert math.isclose(rows["blue"]["control_mean"], first, rel_tol=1e-9)
    assert math.isclose(rows["green"]["control_mean"], second, rel_tol=1e-9)
    for column in ("mean", "control_mean"):
        assert math.isclose(rows["control"][column], (111 * first + 65 * second) / 176, rel_tol=1e-9)


def test_stratified__ratio_without_denominator_in_the_compared_epochs__has_no_mean(results):
    rows = [results["no visits", "ratio", variation] for variation in ("control", "blue")]
    assert [row["denominator_sum"] for row in rows] == [30, 5]
    assert [(row["mean"], row["control_mean"], row["absolute_lift"]) for row in rows] == [
        (None, None, None)
    ] * 2
