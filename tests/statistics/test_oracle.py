"""Results through real tables equal those of gbstats 0.8.0: sums in, rows of fct_experiment_results out."""

import json
import math
from pathlib import Path

import pytest

from .experiments import ExperimentWarehouse, arm, experiment, link, metric

ORACLES = Path(__file__).parents[1] / "fixtures" / "oracles"
AGGREGATIONS = {
    "proportion": "occurrence",
    "mean": "sum",
    "ratio": "ratio",
    "cuped": "sum",
    "cuped_proportion": "occurrence",
}
METHODS = {
    "frequentist": {
        "lift": "lift",
        "low": "low",
        "high": "high",
        "p_value": "p_value",
        "standard_error": "standard_error",
    },
    "sequential": {
        "lift": "lift",
        "low": "sequential_low",
        "high": "sequential_high",
        "p_value": "sequential_p_value",
    },
    "bayesian": {
        "lift": "bayesian_lift",
        "low": "bayesian_low",
        "high": "bayesian_high",
        "chance_to_win": "chance_to_win",
        "loss_of_control": "loss_of_control",
        "loss_of_variation": "loss_of_variation",
    },
}


def published_cases() -> list[dict]:
    """The cases of gbstats_0_8_0.json in the form of gbstats_0_8_0_more.json."""
    oracle = json.loads((ORACLES / "gbstats_0_8_0.json").read_text())
    cases = []
    for name, kind in {"PROP": "proportion", "MEAN": "mean", "RATIO": "ratio", "CUPED": "cuped"}.items():
        arms = {side: published_arm(kind, oracle["inputs"][name][side]) for side in "ab"}
        for flavour, prior in {"bayes": None, "bayes_prior": PUBLISHED_PRIOR}.items():
            cases.append(
                {
                    "name": f"{name} {flavour}",
                    "kind": kind,
                    "control": arms["a"],
                    "variation": arms["b"],
                    "alpha": 0.05,
                    "sequential_tuning": 5000,
                    "lower_is_better": False,
                    "prior": prior,
                    "expected": {
                        difference: published_results(oracle["pypi"], f"{name.lower()}/{difference}", flavour)
                        for difference in ("absolute", "relative")
                    },
                }
            )
    return cases


PUBLISHED_PRIOR = {"mean": 0, "standard_deviation": 0.3, "type": "relative"}
PUBLISHED_NAMES = {
    "exp": "lift",
    "lo": "low",
    "hi": "high",
    "p": "p_value",
    "se": "standard_error",
    "ctw": "chance_to_win",
    "risk0": "loss_of_control",
    "risk1": "loss_of_variation",
}


def published_arm(kind: str, given: dict) -> dict:
    if kind == "proportion":
        return {"n": given["n"], "outcome_sum": given["sum"], "outcome_sum_squares": given["sum"]}
    parts = {
        "mean": {"outcome": given},
        "ratio": {"outcome": given.get("m"), "denominator": given.get("d")},
        "cuped": {"outcome": given.get("post"), "before": given.get("pre")},
    }[kind]
    sums = {f"{part}_{sum}": value[sum] for part, value in parts.items() for sum in ("sum", "sum_squares")}
    products = {"ratio": ("outcome_denominator_products", "md"), "cuped": ("outcome_before_products", "pp")}
    if kind in products:
        column, key = products[kind]
        sums[column] = given[key]
    return {"n": given["n"]} | sums


def published_results(results: dict, prefix: str, flavour: str) -> dict:
    methods = {"frequentist": "freq", "sequential": "seq", "bayesian": flavour}
    return {
        method: {PUBLISHED_NAMES[key]: value for key, value in results[f"{prefix}/{key_of}"].items()}
        for method, key_of in methods.items()
    }


def further_cases() -> list[dict]:
    return json.loads((ORACLES / "gbstats_0_8_0_more.json").read_text())["cases"]


CASES = published_cases() + further_cases()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Rows of fct_experiment_results by the case's name: each case is an experiment of its own."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("oracle"))
    warehouse.give(
        "experiments",
        [
            experiment(case["name"], alpha=case["alpha"], sequential_tuning=case["sequential_tuning"])
            for case in CASES
        ],
    )
    warehouse.give("metrics", [declared_metric(case) for case in CASES])
    warehouse.give("experiment_metrics", [link(case["name"], case["name"]) for case in CASES])
    warehouse.give(
        "statistics",
        [
            arm(
                case["name"],
                case["name"],
                variation,
                case[side]["n"],
                **{k: v for k, v in case[side].items() if k != "n"},
            )
            for case in CASES
            for variation, side in (("control", "control"), ("treatment", "variation"))
        ],
    )
    warehouse.run()
    return {
        row["experiment_key"]: row
        for row in warehouse.mart("fct_experiment_results")
        if row["variation"] == "treatment"
    }


def declared_metric(case: dict) -> dict:
    prior = case["prior"] or {"mean": None, "standard_deviation": None, "type": None}
    return metric(
        case["name"],
        aggregation=AGGREGATIONS[case["kind"]],
        denominator_event_name="visit" if case["kind"] == "ratio" else None,
        before_days=14 if case["kind"].startswith("cuped") else None,
        direction="lower_is_better" if case["lower_is_better"] else "higher_is_better",
        prior_mean=prior["mean"],
        prior_standard_deviation=prior["standard_deviation"],
        prior_type=prior["type"],
    )


def equal(ours: float, theirs: float) -> bool:
    """Within 1e-9, relative or absolute: gbstats computes small p-values as differences from 1."""
    return ours is not None and math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("difference", ["absolute", "relative"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_results__case_of_gbstats__equal_within_a_billionth(results, case, difference, method):
    """Where gbstats answers, we answer the same; where it refuses, null, and a status says why."""
    row = results[case["name"]]
    prefix = ("cuped_" if case["kind"].startswith("cuped") else "") + difference + "_"
    expected = case["expected"][difference][method]
    ours = {name: row[prefix + column] for name, column in METHODS[method].items()}
    if case["expected"][difference].get(f"{method}_error") == "ZeroDivisionError":
        # gbstats crashes where it scales its own flat prior by a control mean of 0.
        assert None not in ours.values()
    elif expected is None:
        assert {ours[name] for name in ours if name not in ("lift", "standard_error")} == {None}
        assert row["cuped_status" if prefix.startswith("cuped") else "status"] != "ok"
    else:
        wrong = {
            name: (ours[name], value) for name, value in expected.items() if not equal(ours[name], value)
        }
        assert not wrong
