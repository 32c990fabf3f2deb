"""Cohorts: the model that evaluates all of them in one pass, compared with one query per cohort and with Flagsmith's engine.

    python -m benchmarks.cohorts [identities]

By default there are 50 cohorts of 5 conditions and 1,000,000 identities with 10 traits each, all in memory. The engine,
which is written in Python, evaluates a sample after a warm-up, with its contexts already made; its time for all identities
is extrapolated. Its verdicts must equal those of the SQL.
"""

# queries of our own making
import random
import sys
import time

import duckdb
from flag_engine.segments.evaluator import is_context_in_segment

from tests.rules.macros import ENVIRONMENTS, macro

COHORTS, CONDITIONS, SAMPLE, SEPARATE = 50, 5, 4_000, 5
# Trait keys, and their values as DuckDB expressions of a random number `r` in [0, 2^32): text, type.
TRAITS = {
    "country": ("['FR','DE','GB','US','IT','ES','PL','NL'][1 + r % 8]", "string"),
    "age": ("cast(16 + r % 60 as varchar)", "integer"),
    "plan": ("['free','pro','enterprise'][1 + r % 3]", "string"),
    "email": ("'user' || r % 100000 || '@' || ['corp.com','mail.org','example.net'][1 + r % 3]", "string"),
    "app_version": ("(r % 4) || '.' || (r // 4 % 20) || '.' || (r // 80 % 10)", "string"),
    "beta": ("['true','false'][1 + r % 2]", "boolean"),
    "score": ("cast((r % 10000) / 100.0 as varchar)", "float"),
    "logins": ("cast(r % 500 as varchar)", "integer"),
    "nick": ("['Zoé','Ann','Bob','é☃','Kim'][1 + r % 5]", "string"),
    "uid": ("cast(r as varchar)", "integer"),
}
OPERATORS = [
    ("country", "EQUAL", lambda dice: dice.choice(["FR", "DE", "GB", "US"])),
    ("country", "IN", lambda dice: ",".join(dice.sample(["FR", "DE", "GB", "US", "IT"], 3))),
    ("age", "GREATER_THAN", lambda dice: str(dice.randrange(18, 70))),
    ("age", "LESS_THAN_INCLUSIVE", lambda dice: str(dice.randrange(18, 70))),
    ("plan", "NOT_EQUAL", lambda dice: dice.choice(["free", "pro"])),
    ("email", "REGEX", lambda dice: rf".*{dice.randrange(100)}@(corp\.com|mail\.org)$"),
    ("app_version", "GREATER_THAN", lambda dice: f"{dice.randrange(4)}.{dice.randrange(20)}.0:semver"),
    ("beta", "EQUAL", lambda dice: "true"),
    ("score", "GREATER_THAN", lambda dice: f"{dice.random() * 100:.2f}"),
    ("logins", "MODULO", lambda dice: f"{dice.randrange(2, 9)}|0"),
    ("nick", "CONTAINS", lambda dice: dice.choice(["é", "n", "Ki"])),
    ("uid", "IS_SET", lambda dice: ""),
]
SPLIT = ("", "PERCENTAGE_SPLIT", lambda dice: str(dice.randrange(5, 95)))


def declare(number: int, dice: random.Random) -> dict:
    """Declare one cohort: ALL of two conditions and ANY of the others. Every fifth cohort has a percentage split."""
    conditions = [
        {"property": key, "operator": operator, "value": value(dice)}
        for key, operator, value in ([SPLIT] if number % 5 == 0 else []) + dice.sample(OPERATORS, CONDITIONS)
    ]
    groups = [
        {"type": "ALL", "conditions": conditions[:2]},
        {"type": "ANY", "conditions": conditions[2:CONDITIONS]},
    ]
    return {
        "key": f"cohort_{number}",
        "rules": [{"type": "ALL", "rules": groups, "conditions": []}],
        "mirrors_segment": number,
        "environment": None,
    }


def populate(connection: duckdb.DuckDBPyConnection, identities: int) -> None:
    """Create the tables `identities` and `traits`, with the columns of dim_identities and fct_identity_traits."""
    connection.execute(
        f"create table identities as select 'production' as environment, 'user_' || i as identity,"
        f" timestamp '2026-01-01' as first_seen_at from range({identities}) as numbers(i)"
    )
    keys = " union all ".join(
        f"select environment, identity, '{key}' as trait_key, false as is_transient, '{kind}' as value_type,"
        f" {text} as value_text, try_cast({text if kind in ('integer', 'float') else 'null'} as double)"
        f" as value_number, first_seen_at as valid_from, cast(null as timestamp) as valid_to"
        f" from (select *, cast(hash(identity || '{key}') % 4294967296 as bigint) as r from identities)"
        for key, (text, kind) in TRAITS.items()
    )
    connection.execute(f"create table traits as {keys}")


def timed(label: str, what) -> tuple[float, float]:
    """Time a piece of work; print and return its wall time and its processor time."""
    started, busy = time.perf_counter(), time.process_time()
    what()
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    print(f"{label:<60} {seconds:10.2f} s {busy:10.2f} s of processor", flush=True)
    return seconds, busy


def engine_verdicts(
    connection: duckdb.DuckDBPyConnection, cohorts: list[dict], names: list[str]
) -> tuple[set, float, float]:
    """Return the (cohort, identity) pairs that Flagsmith's engine finds, its wall time and its processor time."""
    read = {"boolean": lambda text: text == "true", "integer": int, "float": float, "string": str}
    traits: dict = {name: {} for name in names}
    for name, key, kind, text in connection.execute(
        "select identity, trait_key, value_type, value_text from traits where list_contains($1, identity)",
        [names],
    ).fetchall():
        traits[name][key] = read[kind](text)
    environment = ENVIRONMENTS["production"]
    contexts = {
        name: {
            "environment": environment,
            "identity": {"identifier": name, "key": f"{environment['key']}_{name}", "traits": held},
        }
        for name, held in traits.items()
    }
    segments = [
        {"key": str(cohort["mirrors_segment"]), "name": "", "rules": cohort["rules"]} for cohort in cohorts
    ]
    for _warm_then_timed in range(2):
        started, busy = time.perf_counter(), time.process_time()
        members = {
            (f"cohort_{segment['key']}", name)
            for name, context in contexts.items()
            for segment in segments
            if is_context_in_segment(context, segment)
        }
    return members, time.perf_counter() - started, time.process_time() - busy


def main(identities: int = 1_000_000) -> None:
    dice = random.Random(7)  # noqa: S311  # a benchmark's dice
    cohorts = [declare(number, dice) for number in range(COHORTS)]
    compile_memberships = macro("cohort_memberships", flagsmith_environments=ENVIRONMENTS)
    with duckdb.connect() as connection:
        connection.execute("set preserve_insertion_order = false")
        timed(
            f"{identities:,} identities with {len(TRAITS)} traits: made",
            lambda: populate(connection, identities),
        )
        queries: list = []
        timed(
            f"{COHORTS} cohorts of {CONDITIONS} conditions: compiled",
            lambda: queries.append(compile_memberships(cohorts, "traits", "identities")),
        )
        one_pass = timed(
            "all in one pass", lambda: connection.execute(f"create table members as {queries[0]}")
        )
        some = [compile_memberships([cohort], "traits", "identities") for cohort in cohorts[:SEPARATE]]
        apart = timed(
            "five of them, one query each",
            lambda: [connection.execute(f"create or replace table one as {query}") for query in some],
        )
        names = [f"user_{number}" for number in sorted(dice.sample(range(identities), SAMPLE))]
        expected, *engine = engine_verdicts(connection, cohorts, names)
        found = connection.execute(
            "select cohort_key, identity from members where identity in (select unnest($1))", [names]
        ).fetchall()
        if set(found) != expected:
            raise SystemExit(f"{len(set(found) ^ expected)} verdicts differ from the engine's")
        rows = connection.execute("select count(*) from members").fetchone()[0]
    print(f"\n{rows:,} memberships; {SAMPLE * COHORTS:,} verdicts equal the engine's. One pass is faster by")
    for what, seconds in (("the clock", 0), ("processor time", 1)):
        print(
            f"{what:>16}: {apart[seconds] / SEPARATE * COHORTS / one_pass[seconds]:.0f} times than apart,"
            f" {engine[seconds] / SAMPLE * identities / one_pass[seconds]:.0f} times than flag-engine"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
