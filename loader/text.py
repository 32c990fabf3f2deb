"""Makes text from others harmless for a terminal or a page: control characters and markup are shown, never executed."""

import unicodedata

JOINERS = "\u200c\u200d"  # Persian words and many emoji need them
MARKS_PER_LETTER = 4  # written languages stay below; a hundred accents on one letter cover the lines above


def printable(text: str) -> str:
    """The text, with everything spelled out that a terminal or a browser would act upon: `\\x1b`, `\\u202e`, `\\ud800`.

    Spelled out are control characters except the line end, direction marks, half characters, invisible characters, and
    all accents after the fourth on a letter.
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
    """The same, with line ends spelled out too, so that nothing in the text can begin a new line."""
    return printable(text).replace("\n", r"\n")


def shortened(text: str, most: int = 40) -> str:
    """Text on one line, at most `most` Latin letters wide, with the middle left out: `a very lo…ag name`.

    Only its two ends are read, so that a value of any length costs the same.
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


def counted(count: int, one: str, more: str) -> str:
    """`1 delivery`, `2,048 deliveries`."""
    return f"{count:,} {one if count == 1 else more}"


def first_line(error: Exception) -> str:
    """What an error says, without what DuckDB and others add below; where it says nothing, what it is called."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _fitting(text: str, most: int) -> str:
    """The longest beginning that is at most `most` wide."""
    for at, letter in enumerate(text):
        most -= _width(letter)
        if most < 0:
            return text[:at]
    return text


def _width(letter: str) -> int:
    return 1 + (unicodedata.east_asian_width(letter) in "WF")


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
