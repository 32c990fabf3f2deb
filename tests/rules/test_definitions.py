"""What is refused at parse time, what is warned of, and cases like those that all Flagsmith engines share."""

import hashlib
import re
import unicodedata
from collections import defaultdict

import pytest
from dbt_common.exceptions import CompilationError

from tests.rules.macros import ENVIRONMENTS, macro, warehouse
from tests.rules.test_parity import engine_says, sql_says


def condition(operator="EQUAL", value="x", **further):
    return {"property": "plan", "operator": operator, "value": value, **further}


def cohort(*conditions, **further):
    return {
        "key": "mine",
        "rules": [{"type": "ALL", "rules": [{"type": "ANY", "conditions": list(conditions)}]}],
        **further,
    }


PLACE = "rules[0].rules[0].conditions[0]"
BAD = [
    ([cohort(condition("STARTS_WITH"))], "mine", f"{PLACE}.operator", "NOT_CONTAINS"),
    ([cohort({"property": "plan", "operatr": "EQUAL"})], "mine", PLACE, "lacks the key operator"),
    ([cohort(condition(valeu="x"))], "mine", PLACE, '"valeu"'),
    ([cohort({"operator": "EQUAL", "value": "x"})], "mine", f"{PLACE}.property", "Name the trait"),
    ([cohort(condition(value=["x"]))], "mine", f"{PLACE}.value", "a list of texts"),
    ([cohort(condition("IN", None))], "mine", f"{PLACE}.value", "a list of texts"),
    ([cohort("plan is pro")], "mine", PLACE, "not a mapping"),
    ([cohort(condition("MODULO", "0|0"))], "mine", f"{PLACE}.value", "zero"),
    ([cohort(condition("PERCENTAGE_SPLIT", "20"))], "mine", PLACE, "mirrors_segment: <id>"),
    (
        [cohort(condition("PERCENTAGE_SPLIT", "20"), mirrors_segment="its name")],
        "mine",
        PLACE,
        "mirrors_segment: <id>",
    ),
    ([cohort(condition(property="$..plan"))], "mine", f"{PLACE}.property", "$.identity.identifier"),
    (
        [cohort(condition(property="$.identity.traits[?@ == 1]"))],
        "mine",
        f"{PLACE}.property",
        "cannot be compiled",
    ),
    ([cohort(condition(property="$.flags.checkout.enabled"))], "mine", f"{PLACE}.property", "not flags"),
    ([{"key": "mine", "rules": {"type": "ALL"}}], "mine", "rules", "Paste the list"),
    ([{"key": "mine", "rules": [{"type": "SOME"}]}], "mine", "rules[0].type", "ALL, ANY or NONE"),
    ([{"key": "mine", "rules": [{"type": "ALL", "condition": []}]}], "mine", "rules[0]", '"condition"'),
    (
        [{"key": "mine", "rules": [{"type": "ALL", "conditions": {}}]}],
        "mine",
        "rules[0].conditions",
        "not a list",
    ),
    ([{"key": "mine"}], "mine", "the cohort", "lacks the key rules"),
    ([{"rules": []}], "number 1", "the cohort", "lacks the key key"),
    ([{"key": 7, "rules": []}], "7", "key", "in quotes"),
    ([cohort(), cohort()], "mine", "key", "twice"),
    ([cohort(mirrors_segment=True)], "mine", "mirrors_segment", "id (a number) or its name"),
    ([cohort(enviroment="production")], "mine", "the cohort", '"enviroment"'),
    (["mine"], "number 1", "the cohort", "not a mapping"),
]


@pytest.mark.parametrize(("cohorts", "called", "where", "says"), BAD)
def test_definition__bad__is_refused_with_cohort_place_and_remedy(cohorts, called, where, says):
    with pytest.raises(CompilationError) as refusal:
        macro("cohort_memberships")(macro("check_cohorts")(cohorts), "traits", "identities")
    message = str(refusal.value)
    assert f"Cohort '{called}' (vars: cohorts:): {where} " in message
    assert says in message
    assert len(message.split(". ", 1)[1].split("\n")[0]) > 10


@pytest.mark.parametrize(("cohorts", "called", "where", "says"), BAD)
def test_definition__bad__is_a_fault_beside_cohorts_in_order(cohorts, called, where, says):
    """Judged one by one, a bad cohort does not stop what is declared beside it."""
    judged = macro("judge_cohorts")([*cohorts, {"key": "fine", "rules": []}])
    (fault,) = [fault for fault in judged["faults"] if fault["severity"] == "problem"]
    assert (fault["called"], fault["where"]) == (called, where)
    assert says in fault["what"] + fault["remedy"]
    assert judged["cohorts"][-1]["key"] == "fine"


def test_definition__not_a_list__is_refused():
    with pytest.raises(CompilationError, match="Write one `- key"):
        macro("check_cohorts")({"key": "mine"})


def test_definition__split_without_environment_key__is_refused():
    """The key of the environment is part of what is hashed."""
    declared = [{**cohort({**condition("PERCENTAGE_SPLIT", "20"), "property": ""}), "mirrors_segment": 4}]
    with pytest.raises(CompilationError, match="flagsmith_environments"):
        macro("cohort_memberships")(macro("check_cohorts")(declared), "traits", "identities")


REFUSED_EXPRESSIONS = [
    r"(?=a)", r"(?!a)", r"(?<=a)", r"(?<!a)", r"(?P<x>a)", r"(?x)a", r"(?m)^a", r"(?>a)", r"(?(1)b)",
    r"a\b", r"\Ba", r"(a)\1", r"\012", r"a*+", r"a++", r"a?+", r"a{2}+", r"\q", r"\z", r"[\S]", "(?i)é",
    r"[\W]", r"(?#c)", r"\d$\n", r"($)*a", r"(a$|b)c", r"a{3001}", r"(\w{100}){9}", r"\ud800", "a$?",
    # Python refuses these as well.
    r"*a", r"a**", r"(a", r"a)", r"[a", r"[b-a]", r"[\w-z]", r"a{3,2}", "a\\", r"^*", r"|*", r"[\q]",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED_EXPRESSIONS)
def test_regex__beyond_the_engine__is_refused_with_the_reason(pattern):
    with pytest.raises(CompilationError, match=r"Cohort 'mine' .*rules\[0\].*conditions\[0\]\.value"):
        macro("cohort_memberships")(
            macro("check_cohorts")([cohort(condition("REGEX", pattern))]), "traits", "identities"
        )


def test_regex__every_character__is_of_the_class_that_python_says(cohort_memberships):
    """\\d, \\w, \\s and letters without case, over all of Unicode that this Python and DuckDB both know."""
    newer = range(0x2EBF0, 0x2EE5E)  # letters of Unicode 15.1, which Python 3.13 knows and RE2 does not
    known = [
        chr(n)
        for n in range(0x110000)
        if not 0xD800 <= n <= 0xDFFF and n not in newer and unicodedata.category(chr(n)) != "Cn"
    ]
    patterns = [
        *(r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "."),
        *("(?i)i", "(?i)k", "(?i)[r-t]", "(?i)[^H-J]", r"(?i)\w"),
    ]
    cohorts = [
        {"key": pattern, "environment": None, "mirrors_segment": None}
        | {"rules": [{"type": "ALL", "conditions": [condition("REGEX", pattern)]}]}
        for pattern in patterns
    ]
    found = defaultdict(set)
    with warehouse([], []) as connection:
        # One identity per character, which is the value of its trait.
        connection.execute(
            "insert into traits select 'production', character, 'plan', false, 'string', character, null,"
            " timestamp '2026-01-01', null from (select unnest($1::varchar[]) as character)",
            [known],
        )
        query = cohort_memberships(cohorts, "traits", "identities")
        for pattern, character in connection.execute(
            f"select cohort_key, identity from ({query}) as members"
        ).fetchall():
            found[pattern].add(character)
    for pattern in patterns:
        expected = {character for character in known if re.match(pattern, character)}
        assert found[pattern] == expected, pattern


NEVER = [
    condition("MODULO", ""),
    condition("MODULO", "invalid|value"),
    condition("MODULO", "2"),
    condition("PERCENTAGE_SPLIT", "a fifth"),
    condition("IN", []),
    condition("CONTAINS", ":semver"),
]


@pytest.mark.parametrize("never", NEVER)
def test_condition__never_matching_for_the_engine__matches_nobody_with_one_warning(never):
    warnings = []
    compiled = macro("cohort_memberships", warnings)
    tree = [{"type": "ALL", "conditions": [never]}]
    population = {"with": {"plan": "x"}, "without": {}}
    # The number of a tree is its segment's id.
    assert sql_says(compiled, [tree], population) == set()
    assert len(warnings) == 1
    assert "rules[0].conditions[0]" in warnings[0]


def test_rules__none__match_nobody_with_a_warning():
    warnings = []
    assert sql_says(macro("cohort_memberships", warnings), [[]], {"anybody": {}}) == set()
    assert len(warnings) == 1


def test_split__the_one_hash_of_exactly_100__is_hashed_again(cohort_memberships):
    """Of 9999 hashes one is 100 %, which no percentage reaches: the repeated text is hashed instead."""
    key = ENVIRONMENTS["production"]["key"]

    def hundred(name):
        return int(hashlib.md5(f"0,{key}_{name}".encode()).hexdigest(), 16) % 9999 == 9998  # noqa: S324

    names = [name for name in map(str, range(100_000)) if hundred(name)][:8]
    trees = [
        [{"type": "ALL", "conditions": [{"property": "", "operator": "PERCENTAGE_SPLIT", "value": "50"}]}]
    ]
    expected = {(0, name) for name in names if engine_says(trees[0], 0, name, {})}
    assert 0 < len(expected) < len(names)
    assert sql_says(cohort_memberships, trees, {name: {} for name in names}) == expected


# The shape of Flagsmith/engine-test-data: a context with its segments, and the names of those that match.
SHARED_CASES = [
    ({"foo": "1.2.3"}, [("foo", "GREATER_THAN", "1.2.2:semver")], True),
    ({"foo": 2}, [("foo", "IN", ["1", "2"])], True),
    ({"foo": 2}, [("foo", "IN", '["1","2"]')], True),
    ({"foo": "b"}, [("foo", "IN", "[a,b]")], False),
    ({"foo": True}, [("foo", "IN", "true,True,1")], False),
    ({"is_active": True}, [("is_active", "EQUAL", "1")], True),
    ({'trait key "with quotes"': "some value"}, [('trait key "with quotes"', "EQUAL", "some value")], True),
    ({}, [("$.identity", "IS_NOT_SET", ""), ("$.leads.to.nowhere", "IS_NOT_SET", "")], True),
    ({}, [("$.identity.identifier", "IN", "someone"), ("$.environment.name", "EQUAL", "Production")], True),
    ({"$.identity.identifier": "trait"}, [("$.identity.identifier", "EQUAL", "trait")], True),
    ({"foo": 35.0}, [("foo", "MODULO", "4|3")], True),
    ({"foo": "35"}, [("foo", "MODULO", "invalid|value")], False),
]  # fmt: skip


@pytest.mark.parametrize(("traits", "conditions", "matches"), SHARED_CASES)
def test_rules__cases_of_the_shape_that_all_engines_share__match_as_stated(
    cohort_memberships,
    traits,
    conditions,
    matches,
):
    names = ("property", "operator", "value")
    tree = [
        {
            "type": "ALL",
            "rules": None,
            "conditions": [dict(zip(names, one, strict=True)) for one in conditions],
        }
    ]
    assert engine_says(tree, 0, "someone", traits) is matches
    assert sql_says(cohort_memberships, [tree], {"someone": traits}) == (
        {(0, "someone")} if matches else set()
    )


def test_rules__as_an_environment_document_or_the_api_writes_them__read_alike():
    """`property_`, numbers, ids and descriptions: pasted unchanged."""
    plain = [{"type": "ALL", "conditions": [condition(value="30")]}]
    document = [
        {
            "type": "ALL",
            "rules": [],
            "conditions": [{"operator": "EQUAL", "value": "30", "property_": "plan"}],
        }
    ]
    of_api = [
        {
            "id": 3,
            "type": "ALL",
            "conditions": [condition(value=30, id=9, description=None, created_with_segment=True)],
        }
    ]
    memberships = macro("cohort_memberships")
    population = {"thirty": {"plan": 30}, "other": {"plan": 31}}
    assert sql_says(memberships, [plain, document, of_api], population) == {
        (number, "thirty") for number in range(3)
    }


def test_sql__conditions_and_cohorts__are_named_in_comments_that_cannot_end():
    """A reader sees what each bit stands for; a line break in a declared text does not end its comment."""
    declared = [{**cohort(condition(value="x\n; drop table traits\r--")), "key": "a\nb"}]
    query = macro("cohort_memberships")(macro("check_cohorts")(declared), "traits", "identities")
    comments = [line.strip() for line in query.splitlines() if line.strip().startswith("-- ")]
    assert '-- plan EQUAL "x ; drop table traits --"' in comments
    assert '-- a b: plan EQUAL "x ; drop table traits --"' in comments


def test_conditions__more_than_a_column_holds__all_count(cohort_memberships):
    """62 bits a column: 125 cohorts on 125 values, the last alone in a third column of conditions and of matches."""
    trees = [[{"type": "ALL", "conditions": [condition(value=f"plan {n}")]}] for n in range(125)]
    population = {f"user {n}": {"plan": f"plan {n}"} for n in range(125)}
    assert sql_says(cohort_memberships, trees, population) == {(n, f"user {n}") for n in range(125)}
