"""How names and values from others are shown on a terminal and a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagsmith_warehouse.loader import text

ANYTHING = st.text(st.characters(categories=None), max_size=400)


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain", "plain"),
        ("значение ☃ 𝄞 旗 é", "значение ☃ 𝄞 旗 é"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\x00b\x7f", r"a\x00b\x7f"),
        ("user\u202egnp.exe\u2066", r"user\u202egnp.exe\u2066"),
        ("\ud800", r"\ud800"),
        ("control\u200b", r"control\u200b"),
        ("admin\u200d", r"admin\u200d"),
        ("क्\u200dष 👩\u200d💻", "क्\u200dष 👩\u200d💻"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + r"\u0301\u0301"),
        ("ok\rfail", r"ok\rfail"),
    ],
)
def test_printable__what_a_terminal_or_page_acts_upon__is_spelled(given_text, shown):
    assert text.printable(given_text) == shown


@given(ANYTHING)
def test_printable__any_text__can_be_written_and_does_nothing(given_text):
    shown = text.printable(given_text)
    shown.encode()
    assert all(letter.isprintable() or letter in "\n\u200c\u200d" for letter in shown)


@given(ANYTHING)
def test_one_line__any_text__begins_no_line_of_its_own(given_text):
    assert len(text.one_line(given_text).splitlines()) <= 1


@given(ANYTHING, st.integers(10, 200))
def test_shortened__any_text__is_one_line_and_fits(given_text, most):
    short = text.shortened(given_text, most)
    assert 0 < sum(map(text._width, short)) <= max(most, len("(empty text)"))
    assert not {"\n", "\t", "\r"} & set(short)


def test_shortened__a_value_of_megabytes__looks_at_its_ends_only(monkeypatch):
    looked_at = []
    monkeypatch.setattr(text, "_width", lambda letter: looked_at.append(letter) or 1)
    costs = []
    for length in (2_000, 20_000_000):
        looked_at.clear()
        short = text.shortened("a" * length + "z")
        costs.append(len(looked_at))
        assert len(short) == 40 and short.endswith("z")
    assert costs[0] == costs[1] < 2_000


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError("no room\nLINE 1: …"), "no room"), (KeyError(), "KeyError"), (ValueError("\n"), "")],
)
def test_first_line__what_an_error_says__without_what_is_below(error, expected):
    assert text.first_line(error) == expected
