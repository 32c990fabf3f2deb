"""Prints some tables from the marts on the terminal. Marts that do not exist yet are left out."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flagsmith_warehouse.simulator.conversions import Effect

TRUE_LIFTS = ", ".join(f"('{variation}', {lift})" for variation, lift in Effect().lifts.items())


@dataclass(frozen=True)
class Question:
    """A question, the mart that answers it, and the query."""

    text: str
    mart: str
    sql: str


QUESTIONS = (
    Question(
        "What has been received?",
        "fct_deliveries_hourly",
        """select environment, kind, sum(deliveries)::bigint as deliveries, round(sum(bytes) / 1e6, 1) as "MB"
           from marts.fct_deliveries_hourly group by all order by all""",
    ),
    Question(
        "Who got which checkout button? (weights are changed mid-way)",
        "fct_flag_exposures",
        """select environment, variation, count(distinct identity) as identities,
               sum(exposure_count)::bigint as evaluations,
               strftime(min(first_exposed_at), '%d %b %H:%M') as "first exposed"
           from marts.fct_flag_exposures where feature_name = 'checkout_button'
           group by all order by all""",
    ),
    Question(
        "What changed for one identity, and why?",
        "fct_flag_assignments",
        """select feature_name as flag, variation, change_reason as why,
               strftime(valid_from, '%d %b') as "from", strftime(valid_to, '%d %b') as "to"
           from marts.fct_flag_assignments
           where environment = 'example' and identity = (
               select identity from marts.fct_flag_assignments
               where environment = 'example' and change_reason <> 'first_seen'
               group by identity having count(*) <= 6
               order by count(distinct change_reason) desc, identity limit 1
           )
           qualify count(*) over (partition by feature_id) > 1
           order by feature_name, valid_from limit 12""",
    ),
    Question(
        "Who enters and leaves segments?",
        "fct_segment_memberships",
        """select segment_name as segment, count(*) as entered, count(*) filter (not is_current) as "left",
               count(*) filter (is_current) as "members now"
           from marts.fct_segment_memberships where environment = 'example'
           group by all order by "left" desc, segment limit 5""",
    ),
    Question(
        "Does the button sell better? (a simulation knows the truth; 19 of 20 intervals contain it)",
        "fct_experiment_results",
        f"""select variation, identities, mean as purchases, true_lifts.lift::double as "true lift", relative_lift as "measured lift",
               format('{{:.2f}} to {{:.2f}}', relative_low, relative_high) as "95 % interval", verdict
           from marts.fct_experiment_results as results
           left join (values {TRUE_LIFTS}) as true_lifts (variation, lift) using (variation)
           where experiment_key = 'example_checkout' and metric_key = 'example_purchased' and population = 'assigned'
           order by variation""",  # noqa: S608  # ours
    ),
    Question(
        "What could not be read?",
        "quarantined_deliveries",
        """select environment, reason, count(*) as deliveries, min(body_excerpt) as "for example"
           from marts.quarantined_deliveries group by all order by all""",
    ),
)


def show(console: Console, warehouse: Path) -> None:
    """Print the answers from the warehouse (a DuckDB file), each as a table. Empty answers are left out."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        existing = connection.sql(
            "select table_name from information_schema.tables where table_schema = 'marts'"
        )
        marts = {name for (name,) in existing.fetchall()}
        for question in QUESTIONS:
            if question.mart in marts and len(relation := connection.sql(question.sql)):
                console.print(_table(relation, question))


def _table(relation: duckdb.DuckDBPyRelation, question: Question) -> Table:
    title = f"\n{question.text}\n[dim]marts.{question.mart}[/]"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column, kind in zip(relation.columns, relation.types, strict=True):
        table.add_column(column, justify="left" if str(kind) in ("VARCHAR", "BOOLEAN") else "right")
    for row in relation.fetchall():
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1 else f"{value:,.1f}"
    return "" if value is None else escape(str(value))
