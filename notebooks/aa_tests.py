import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="A/A tests", css_file="style.css")

with app.setup:
    from datetime import datetime, timedelta

    import marimo as mo
    import pandas

    from flagsmith_warehouse.loader import settings
    from flagsmith_warehouse.loader.operations import aa
    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.warehouse import ask, source


@app.cell
def _():
    read = source("dim_metrics")
    show.masthead(
        "aa_tests",
        "How often is a difference found where there is none? People of the past are split at random, with what they really did. "
        "Nothing differs between the halves, so every difference is a false alarm.",
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    metrics = ask("select metric_key, name, aggregation from marts.dim_metrics order by metric_key")
    try:
        answers, damage = aa.kept(settings.read()), None
    except aa.AaError as error:
        answers, damage = [], str(error)
    mo.stop(damage is not None, show.note(damage or ""))
    possible = metrics.metric_key[metrics.aggregation.isin(aa.KNOWN)]
    mo.stop(
        not answers,
        show.note(
            f"No A/A test was run yet. Run: flagsmith-warehouse aa --metric {show.shortened(possible.iloc[0])}"
            if len(possible)
            else "No A/A test was run yet, and no metric is declared that could be tested: add one to metrics.csv (docs/experiments.md)."
        ),
    )
    return answers, metrics


@app.cell
def _(answers, metrics):
    names = dict(zip(metrics.metric_key, metrics["name"], strict=True))

    def scope_of(answer: dict) -> show.Scope:
        until = datetime.fromisoformat(answer["until"])
        return show.Scope(
            answer["environment"], (until - timedelta(days=answer["days"])).date(), until.date()
        )

    def verdict(rate: dict) -> str:
        return "warn" if words.is_too_often(rate) else "ok"

    def card(answer: dict, label: str) -> show.Html:
        # Where no method decides, each of them is spoken of.
        decide = [rate for rate in answer["rates"] if rate["is_declared"]] or answer["rates"]
        saved, p_value = answer["variance_saved"], answer["uniformity_p_value"]
        return show.card(
            f"{show.capital(label)} in {show.shortened(answer['environment'])}",
            show.joined(
                *(
                    show.badge(
                        status := verdict(rate), f"{words.method(rate['method'])}: {words.TOO_OFTEN[status]}"
                    )
                    for rate in answer["rates"]
                ),
                by=" ",
            ),
            *(show.paragraph(one) for one in [words.who_decides(answer["decision_method"])] if one),
            *(show.paragraph(words.false_alarms(rate)) for rate in decide),
            show.sentences([words.uniformity(p_value), words.variance_saved(saved)]),
            show.paragraph(
                f"{words.quantity(answer['experiments'], 'split')} of {words.quantity(answer['identities'], 'identity')}; "
                f"{scope_of(answer)}.",
                "faint",
            ),
            kind="card decision",
            level=2,
        )

    return card, names, scope_of, verdict


@app.cell
def _(scope_of, verdict):
    def rates(answer: dict, label: str) -> show.Html:
        frame = pandas.DataFrame(answer["rates"]).assign(
            said=[words.method(rate["method"]) for rate in answer["rates"]],
            verdict=[verdict(rate) for rate in answer["rates"]],
            wanted=[words.wanted(rate) for rate in answer["rates"]],
        )
        frame["said"] = [
            f"{show.capital(row.said)}{', declared' if row.is_declared else ''}" for row in frame.itertuples()
        ]
        return show.table(
            frame,
            f"False alarms on {label}, {scope_of(answer)}",
            {
                "said": "Method",
                "verdict": "Verdict",
                "false_alarms": "False alarms",
                "rate": "Share of the splits",
                "low": "At least",
                "high": "At most",
                "wanted": "Expected",
            },
            {
                "verdict": lambda status: show.badge(status, words.TOO_OFTEN[status]),
                **dict.fromkeys(("rate", "low", "high"), show.percent),
            },
            is_full=True,
            numbers=("wanted",),
            saved=("method", "is_declared", "false_alarms", "rate", "low", "high", "expected"),
        )

    def p_values(answer: dict, label: str) -> show.Html:
        tenths = pandas.DataFrame(
            {
                "p_value": [f"p from {tenth / 10:.1f}" for tenth in range(10)],
                "splits": answer["p_values_by_tenth"],
            }
        )
        return charts.bars(
            tenths,
            "splits",
            "p_value",
            title=f"p-values of {label}: each tenth should have about {show.number(answer['experiments'] / 10)}",
            heading="splits",
            scope=scope_of(answer),
        )

    return p_values, rates


@app.cell
def _(answers, card, names, p_values, rates):
    show.joined(
        *(
            piece(answer, words.called(answer["metric"], names.get(answer["metric"])))
            for answer in reversed(answers)
            for piece in (card, rates, p_values)
        ),
        show.paragraph(
            "Another metric or environment: flagsmith-warehouse aa --help. docs/experiments.md says what each figure means.",
            "faint",
        ),
    )
    return


if __name__ == "__main__":
    app.run()
