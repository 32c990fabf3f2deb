"""Only `macros/engine/` may contain SQL that other engines lack. The tests compare DuckDB 2 and Spark 4."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from jinja2 import Environment

PROJECT = Path(__file__).parents[2]
ENGINE = PROJECT / "macros" / "engine"
SOURCES = sorted(
    source
    for folder in ("models", "macros", "tests/warehouse", "starter/models")
    for source in (PROJECT / folder).rglob("*.sql")
    if ENGINE not in source.parents
)

# Constructs that Spark 4.0 lacks or reads differently: (construct, regular expression, example, what to write instead).
CONSTRUCTS = (
    ("struct literal", r"\{\s*('\w*'|\w+)\s*:|\bstruct_pack\(|\brow\(", "max({'at': a})", "{{ struct_of({…}) }}"),
    ("row as one value", r"\bselect\s+(distinct\s+)?\([\w.]+\s*,", "select (a, b)", "its columns"),
    ("list literal", r"(?<![\w\])])\[[^\]\n]*\]", "coalesce(a, [])", "{{ list_of([…]) }}"),
    ("list element by position", r"[\w)]\[\s*-?\d*\s*:?\s*-?\d+\s*\]", "part[1]", "{{ list_element(list, position) }}"),
    ("list function", r"\b(list|array)(_(?!agg\b)\w+)?\s*\(", "list_contains(a, 1)", "{{ distinct_list(…) }}, …"),
    ("type of a list", r"\b(string|varchar|text|bigint|integer|double)\[\]", "a bigint[]", "{{ list_type('…') }}"),
    ("row per element", r"\bunnest\s*\(|\bgenerate_s\w+\s*\(|\brange\s*\(\s*\d", "unnest(a)", "{{ unnest_list(…) }}, {{ each_day(…) }}"),
    ("lambda", r"\blambda\b|\b\w+\s*->\s*\w", "x -> x + 1", "a macro in macros/engine"),
    ("`exclude`", r"\bexclude\b", "a.* exclude (b)", "{{ columns_but(alias, […]) }}"),
    ("`* replace`", r"\*\s*replace\s*\(", "a.* replace (1 as b)", "the columns by name"),
    ("`by name`", r"\bby name\b", "union all by name", "the columns by name"),
    ("`columns(…)`", r"\bcolumns\s*\(\s*\*", "max(columns(*))", "the columns by name"),
    ("`from` before `select`", r"(?<!\w)\(\s*from\b", "not in (from a)", "select * from …"),
    ("`qualify`", r"\bqualify\b", "qualify rank() = 1", "the window function in a subquery, the condition around it"),
    ("`distinct on`", r"\bdistinct on\b", "select distinct on (a)", "row_number() in a subquery"),
    ("join by position or time", r"\b(asof|positional)\s+join\b", "asof join", "an inner or left join"),
    ("`materialized`", r"\bas (not )?materialized\b", "with a as materialized (", "{{ evaluated_once() }}"),
    ("`try`, `try_cast`", r"\btry(_cast|_strptime)?\s*\(", "try_cast(a as double)", "{{ double_of(…) }}, {{ json_integer(…) }}"),
    ("`::`", r"::", "a::date", "cast(… as …)"),
    ("type that only DuckDB has", r"\b(varchar|u?hugeint|u\w+int|timestamptz)\b", "cast(a as varchar)", "string, bigint, timestamp"),
    ("cast to JSON", r"\bas json\b|\bjson\s*'", "cast(a as json)", "{{ json_of(text) }}"),
    ("JSON function", r"\b(json|from_json|to_json)(_\w+)?\s*\(|->>|#>", "json_extract(a, b)", "macros/engine/parse_json.sql"),
    ("seconds of a timestamp", r"\bepoch\w*\s*\(|\bextract\s*\(\s*epoch", "epoch(a)", "{{ seconds_between(…) }}"),
    ("timestamp from parts", r"\b(make|to)_(date|timestamp)\w*\s*\(", "make_timestamp(a)", "{{ timestamp_of_seconds(…) }}"),
    ("number times interval", r"\*\s*interval\b|\binterval\s*\(|\bto_\w+s\s*\(", "3 * interval 1 day", "{{ plus_hours(…) }}"),
    ("arithmetic on dates", r"\bdate_?(diff|add|sub)\s*\(|\bage\s*\(", "date_diff('day', a, b)", "{{ hours_between(…) }}"),
    ("format of dates", r"\bstr[fp]time\s*\(", "strftime(a, '%Y')", "{{ minute_text(…) }}, {{ utc_timestamp(…) }}"),
    ("time zone", r"\bat time zone\b|\btimezone\s*\(", "a at time zone 'UTC'", "{{ zoned_timestamp(…) }}, {{ utc_now() }}"),
    ("`strpos`", r"\b(strpos|instr)\s*\(", "strpos(a, ',')", "position(… in …), {{ text_contains(…) }}"),
    ("`reverse`", r"\breverse\s*\(", "reverse(a)", "{{ regex_group(…) }}"),
    ("text function", r"\b(\w*split\w*|strlen|(pre|suf)fix|\w+_with|contains|format)\s*\(", "contains(a, b)", "macros/engine/text.sql"),
    ("regular expression", r"\bregexp_\w+\s*\(|\bsimilar to\b|~~?\*?\s*'", "regexp_matches(a, b)", "macros/engine/regex.sql"),
    ("`arg_max`, `arg_min`", r"\barg_(max|min)\w*\s*\(", "arg_max(a, b)", "max_by(…, …), min_by(…, …)"),
    ("texts of a group as one", r"\b(string_agg|group_concat|listagg)\s*\(", "string_agg(a, b)", "{{ joined_texts(…) }}"),
    ("quantile", r"\bquantile\w*\s*\(", "quantile_cont(a, 0.5)", "percentile_cont(…) within group (order by …)"),
    ("hash", r"\b(md5\w*|sha\d+|hash)\s*\(", "md5(a)", "{{ content_hash(…) }}, {{ rows_hash(…) }}"),
    ("bits", r"(?<!&)&(?!&)|<<|>>|\bxor\s*\(|\bbit_\w+\s*\(", "a & 4", "{{ bit_is_set(…) }}"),
    ("sign for division or power", r"(?<!:)//|\*\*|[\w)]\s*\^\s*[\w(]", "a // 2", "floor(… / …), power(…, …)"),
    ("function that only DuckDB has", r"\b(isfinite|isinf|fmod|trunc|l?gamma|even|error)\s*\(", "isfinite(a)", "a macro in macros/engine"),
    ("window without an order", r"\brow_number\(\)\s*over\s*\(\s*\)", "row_number() over ()", "{{ row_in_order() }}"),
    ("`filter` of a window", r"\bfilter\s*\((?:[^()]|\([^()]*\))*\)\s*over\b", "sum(a) filter (where b) over c", "sum(case when …) over …"),
    ("quoted identifier", r'"\w+"', 'as "left"', "{{ adapter.quote('…') }}"),
    ("temporary table", r"\btemp(orary)?\s+(table|view|macro)\b", "create temp table a", "{% call temporary_table('…') %}"),
    ("`delete … using`", r"\bdelete from\b[^;]*\busing\b", "delete from a using b", "{% call delete_matching(…) %}"),
    ("`update … from`", r"\bupdate\b[^;]*\bset\b[^;]*\bfrom\b", "update a set b = 1 from c", "{% call update_matching(…) %}"),
    ("column added if missing", r"\badd column if not exists\b", "add column if not exists a", "{{ add_column_if_missing() }}"),
    ("`on conflict`", r"\bon conflict\b|\breturning\b|\binsert or\b", "on conflict do nothing", "a delete and an insert"),
    ("catalogue or file", r"\bduckdb_\w+\s*\(|\b(read|parquet)_\w+\s*\(|\bglob\s*\(|\bpragma\b", "read_csv(a)", "macros/engine"),
)  # fmt: skip
# In the texts of Jinja these are regular expressions, paths and sentences.
OF_SQL_ALONE = {"struct literal", "list literal", "quoted identifier", "sign for division or power"}

JINJA = Environment(extensions=["jinja2.ext.do"])  # noqa: S701  # it only splits sources into tokens


class Leak(NamedTuple):
    path: str
    line: int
    construct: str
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.construct} (`{self.found}`): write {self.instead}"


def sql_texts(source: str) -> tuple[str, str]:
    """The SQL of a file, and the texts in its Jinja, because SQL is built from them too. Every line keeps its number."""
    sql, texts = [""], [""]
    for number, kind, value in JINJA.lex(source):
        if value == "endmacro":  # no statement goes on in the next macro
            sql[-1] += ";"
        for lines, wanted in ((sql, "data"), (texts, "string")):
            lines.extend([""] * (number - len(lines)))
            if kind == wanted:
                first, *rest = (value if kind == "data" else value[1:-1]).split("\n")
                lines[-1] += " " + first
                lines.extend(rest)
    without_comments = (re.sub(r"--.*", "", line) for line in sql)
    return "\n".join(re.sub(r"'[^']*'", "''", line) for line in without_comments), "\n".join(texts)


def leaks(path: str, source: str) -> Iterator[Leak]:
    """The constructs in a file that only DuckDB has."""
    sql, texts = sql_texts(source)
    for construct, pattern, _, instead in CONSTRUCTS:
        for text in (sql,) if construct in OF_SQL_ALONE else (sql, texts):
            for found in re.finditer(pattern, text, re.IGNORECASE):
                line = text.count("\n", 0, found.start()) + 1
                yield Leak(path, line, construct, " ".join(found.group().split())[:60], instead)


def test_portability__sql_outside_the_engines_room__is_not_duckdbs_alone():
    found = [
        leak
        for source in SOURCES
        for leak in leaks(source.relative_to(PROJECT).as_posix(), source.read_text())
    ]
    assert not found, "\n" + "\n".join(map(str, found))


@pytest.mark.parametrize("construct, example", [(row[0], row[2]) for row in CONSTRUCTS])
def test_portability__a_construct__is_found_with_its_line(construct, example):
    source = (
        "{{ config(materialized='table') }}\n-- A comment: "
        + example
        + "\nselect '"
        + "a', {{ b }},\n "
        + example
    )
    assert ("a.sql", 4, construct) in {leak[:3] for leak in leaks("a.sql", source)}


def test_portability__sql_that_both_engines_have__is_no_leak():
    source = """
    {%- set pattern = '^[0-9]+([.][0-9]+)?$' %} {#- try_cast(a as json) -#}
    select cast(a as string), max_by(b, c) filter (where d), interval 7 day, '{"flags": [1]}', "{{ a }}", e.f.g
    from a where (a, b) not in (select a, max(b) from c group by all) -- qualify
    """
    assert list(leaks("a.sql", source)) == []


def test_portability__a_macro_of_the_engines_room__refuses_other_engines():
    for file in sorted(ENGINE.glob("*.sql")):
        text = file.read_text()
        for name in re.findall(r"macro duckdb__(\w+)", text):
            assert f"macro default__{name}(" in text, (
                f"{file.name}: {name} has no default__{name}, which refuses other engines"
            )
            assert f"adapter.dispatch('{name}', 'flagsmith_warehouse')" in text, (
                f"{file.name}: {name} is not dispatched"
            )
