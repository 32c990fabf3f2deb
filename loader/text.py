"""Text that somebody else chose, made harmless for a terminal and a page: what is in it is shown, never acted upon."""

import unicodedata

JOINERS = "\u200c\u200d"  # Persian words and many emoji need them
MARKS_PER_LETTER = 4  # written languages stay below; a hundred accents on one letter cover the lines above


def printable(text: str) -> str:
    """The text, with what a terminal or a browser would act upon spelled out: `\\x1b`, `\\u202e`, `\\ud800`.

    Spelled are control characters but the line end, marks of direction, half characters, what has no look of its
    own, and accents beyond four on a letter.
    """
    if text.isprintable() and text.isascii():
        return text
    shown, before, marks = [], "", 0
    for letter in text:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        is_joiner = letter in JOINERS and before > "\x7f"
        is_shown = letter.isprintable() or letter == "\n" or is_joiner
        shown.append(letter if is_shown and marks <= MARKS_PER_LETTER else _spelled(letter))
        before = letter
    return "".join(shown)


def one_line(text: str) -> str:
    """The same, with line ends spelled too: what is in the text cannot begin a line of its own."""
    return printable(text).replace("\n", r"\n")


def shortened(text: str, most: int = 40) -> str:
    """Text on one line, at most `most` Latin letters wide, the middle left out: `a very lo…ag name`.

    Only its ends are looked at, so that a value of any length costs the same.
    """
    ends = 8 * most
    if len(text) > 2 * ends:
        text = f"{text[:ends]}…{text[-ends:]}"
    text = printable(" ".join(text.split())) or "(empty text)"
    if sum(map(_width, text)) <= most:
        return text
    head = _fitting(text, (most - 1) * 2 // 3)
    tail = _fitting(text[::-1], (most - 1) // 3)[::-1]
    return f"{head}…{tail}"


def first_line(error: Exception) -> str:
    """What an error says, without what DuckDB and others add below; where it says nothing, what it is called."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _fitting(text: str, most: int) -> str:
    """As much of the beginning as is at most `most` wide."""
    for at, letter in enumerate(text):
        most -= _width(letter)
        if most < 0:
            return text[:at]
    return text


def _width(letter: str) -> int:
    return 1 + (unicodedata.east_asian_width(letter) in "WF")


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
