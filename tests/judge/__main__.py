"""`python -m tests.judge --seeds 1-50`: print what differs, seed by seed, and what kinds there are at the end."""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from .expected import Difference
from .histories import ODDITIES
from .runs import Verdict, judge


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.judge", description=__doc__)
    parser.add_argument("--seeds", default="1-3", help="like 1-50 or 3,7,9")
    parser.add_argument(
        "--together", type=int, default=1, help="so many seeds in one warehouse: fewer builds"
    )
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--deliveries", type=int, default=300, help="of a seed, about")
    parser.add_argument("--without", default="", help=f"oddities to leave out: {', '.join(ODDITIES)}")
    parser.add_argument("--plain", action="store_true", help="no odd builds between the parts")
    parser.add_argument("--examples", type=int, default=1, help="of each kind of difference")
    parser.add_argument("--directory", type=Path, help="keep the warehouses here")
    options = parser.parse_args()
    seeds = _seeds(options.seeds)
    without = frozenset(filter(None, options.without.split(",")))
    if unknown := without - ODDITIES.keys():
        parser.error(f"no such oddity: {', '.join(unknown)}")
    directory = options.directory or Path(tempfile.mkdtemp(prefix="judge"))
    kinds: Counter = Counter()
    for first in range(0, len(seeds), options.together):
        several = seeds[first : first + options.together]
        verdict = judge(directory, several, options.parts, options.deliveries, not options.plain, without)
        print(f"== seeds {','.join(map(str, several))}: {' · '.join(verdict.steps)}", flush=True)
        kinds += show(verdict, options.examples)
    print("== all kinds")
    for kind, seen in sorted(kinds.items()):
        print(f"{seen:6} in {kind}")
    raise SystemExit(1 if kinds else 0)


def show(verdict: Verdict, examples: int) -> Counter:
    """Print what differs, with examples of each kind, and return how often each kind did."""
    kinds: Counter = Counter()
    for failure in verdict.failures:
        kinds["a plain run failed"] += 1
        print("  run failed:", failure)
    for where, found in (
        ("at once", verdict.at_once),
        ("in parts", verdict.in_parts),
        ("between", verdict.between),
    ):
        by_kind: dict[tuple, list[Difference]] = {}
        for difference in found:
            by_kind.setdefault((difference.mart, difference.kind), []).append(difference)
        for (mart, kind), several in by_kind.items():
            kinds[f"{where}: {mart} · {kind}"] += len(several)
            print(f"  {where} {len(several)} times", *several[:examples], sep="\n      ")
    return kinds


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


if __name__ == "__main__":
    main()
